"""Passwords, API keys and tokens: known forms, and long random strings."""

import math
from collections import Counter

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.patterns import Rules, rule

RUNS_MODEL = False
HITS = (
    ("password: hunter22x", "hunter22x"),
    ("key AKIAIOSFODNN7EXAMPLE here", "AKIAIOSFODNN7EXAMPLE"),
)
NEAR_MISSES = (
    "the password is long",
    "a secret place",
)


def _random(text: str) -> bool:
    """Whether a string mixes letters and digits with an entropy of at least 3 bits per character."""
    counts = Counter(text)
    bits = -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values())
    return bits >= 3 and any(c.isdigit() for c in text) and any(c.isalpha() for c in text)


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    return Rules(
        "secret",
        (
            rule(
                "SECRET",
                r"(?i)\b(?:pass(?:word|wd|code|phrase)?|pwd|pw|pin(?:[ ]code)?|secret|api[ _-]?key|access[ _-]?key|auth[ _-]?token|token|otp)"
                r"(?:[ ](?:is|was)(?:[ ]now)?[ :]|[ ]?[:=])[ ]?[\"'`“”‘’«»„‹›「\[({<*~|]{0,2}(?P<it>(?=[^\s\"'`]*[\d!#$%&*+=?^_~-]|[^\s\"'`]{10})[^\s\"'`<>,]{4,80}[^\s\"'`<>,.;:!?)])",
                0.85,
            ),
            rule("SECRET", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", 0.95),
            rule("SECRET", r"\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_\w{40,}\b", 0.95, needs="_"),
            rule("SECRET", r"\b(?:sk|pk|rk)[-_](?:live|test|ant|proj)?[-_]?[A-Za-z0-9_-]{20,}\b", 0.9),
            rule("SECRET", r"\bxox[abprs]-[A-Za-z0-9-]{10,}\b|\bAIza[\w-]{35}\b|\bglpat-[\w-]{20,}", 0.95, needs="-A"),
            rule("SECRET", r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}", 0.95, needs="."),
            rule(
                "SECRET",
                r"(?s)-----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?-----END[ ][A-Z ]*PRIVATE[ ]KEY-----",
                1.0,
                needs="-",
            ),
            rule("SECRET", r"(?i)://[^\s/:@]+:(?P<it>[^\s/@]+)@", 0.95, needs="@"),
            rule("SECRET", r"(?<![\w/.+=-])[A-Za-z0-9+_-]{32,}={0,2}(?![\w/.-])", 0.6, accept=_random),
        ),
    )
