"""Web addresses: Presidio's patterns without its false domains, such as the two sentences in `good night.The train`."""

import re
from typing import Any

from presidio_analyzer import RecognizerResult
from presidio_analyzer.predefined_recognizers import UrlRecognizer

from fedlm.scrub.letters import CAPITAL, LOWER
from fedlm.scrub.patterns import Rules, rule

RUNS_MODEL = False
HITS = (
    ("see https://example.org/a?b=1.", "https://example.org/a?b=1"),
    ("on www.example.org today", "www.example.org"),
)
NEAR_MISSES = (
    "good night.The train left",
    "and/or",
)

_SCHEME = re.compile(r"(?i)(?:https?|ftp)://|www\.")
_SCREEN = re.compile(r"://|www\.|[\w-]\.[^\W\d_]{2}")
_NEW_SENTENCE = re.compile(rf"[{LOWER}]\.[{CAPITAL}][{LOWER}]")
_WHOLE = Rules(
    "whole url", (rule("URL", r"(?i)\b(?:(?:https?|ftp)://|www\.)[^\s<>\"'“”‘’]*[^\s<>\"'“”‘’.,;:!?)\]}…]", 0.9),)
)


class StrictUrlRecognizer(UrlRecognizer):
    """Presidio's recogniser; a domain without a scheme must be written like one."""

    def analyze(self, text: str, entities: list[str], *args: Any, **kwargs: Any) -> list[RecognizerResult]:
        """Returns the addresses."""
        if not _SCREEN.search(text):
            return []
        found = super().analyze(text, entities, *args, **kwargs)
        bare = [r for r in found if not _SCHEME.match(text[r.start : r.end]) and _is_domain(text, r.start, r.end)]
        return [*bare, *_WHOLE.analyze(text, entities)]


def _is_domain(text: str, start: int, end: int) -> bool:
    """Whether it is no part of a word, no capital follows a dot, as in a new sentence, and there is no @, as in an address."""
    span = text[start:end]
    if text[end : end + 1].isalnum():
        return False
    return not _NEW_SENTENCE.search(span) and text[start - 1 : start] != "@" and "@" not in span


def build() -> UrlRecognizer:
    """Returns the recogniser."""
    return StrictUrlRecognizer()
