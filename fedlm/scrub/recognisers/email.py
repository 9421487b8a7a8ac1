"""E-mail addresses: Presidio's pattern, checked against the public-suffix list that tldextract installs; and disguised
ones, `jane dot doe at mail dot com`, `jane [at] mail.com`.
"""

import re
from typing import Any

import tldextract
from presidio_analyzer import RecognizerResult
from presidio_analyzer.predefined_recognizers import EmailRecognizer

from fedlm.scrub.patterns import Rules, rule

RUNS_MODEL = False
HITS = (
    ("mail a.b@example.org", "a.b@example.org"),
    ("write to jane dot doe at mail dot com now", "jane dot doe at mail dot com"),
)
NEAR_MISSES = (
    "meet me at the com port",
    "a @ b",
)

# Presidio's own check downloads a newer list; this one never does.
_EXTRACT = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

_PART = r"[\w+-]{1,64}"  # bounded, and without dots: otherwise the time for a row of dashes is exponential
_OPEN, _CLOSE = r"[\[({<⟨【«‹|*][ ]?", r"[ ]?[\])}>⟩】»›|*]"
_AT = rf"(?:[ ]?{_OPEN}(?:at|@|ät){_CLOSE}[ ]?|[ ]at[ ]|[ ]@[ ]|[ ]?\(a\)[ ]?|[_-]at[_-]|@)"
_DOT = rf"(?:[ ]?{_OPEN}(?:dot|\.|punkt){_CLOSE}[ ]?|[ ]dot[ ]|[_-]dot[_-]|\.|[ ]\.[ ](?=[^\W\d_]))"
_ENDS = r"(?:com|org|net|edu|gov|info|io|co|uk|de|fr|es|it|nl|eu|ca|au|in|us|me|biz|ch|at|be|pl|se|no|dk|fi|ie|pt|br|jp|mail)"
_SIGN = re.compile(r"(?i)[ _-]dot[ _-]|[(\[{<⟨【«‹|*@]|^[^\W\d_]{2,}[._][^\W\d_]{2,}[ ]at[ ]")
_DISGUISED = Rules(
    "disguised e-mail",
    (
        # A spoken or bracketed dot or at is required, or a name with a dot: "at" and a full stop alone are a sentence.
        rule(
            "EMAIL_ADDRESS",
            rf"(?i)(?<![\w.@+-])(?:{_PART}(?:{_DOT})){{0,3}}{_PART}{_AT}(?:[\w-]{{1,63}}(?:{_DOT})){{1,3}}{_ENDS}(?!\w)",
            0.95,
            accept=lambda text: bool(_SIGN.search(text)),
        ),
        # Stray blanks, as text recognition produces them: jane.doe @mail .com
        rule(
            "EMAIL_ADDRESS",
            rf"(?i)(?<![\w.@+-])[\w.+-]{{1,64}}[ ]?@[ ]?[\w-]{{1,63}}(?:[ ]?\.[ ]?[\w-]{{1,63}}){{0,8}}?[ ]?\.[ ]?{_ENDS}(?!\w)",
            0.8,
            needs="@",
        ),
    ),
)


class OfflineEmailRecognizer(EmailRecognizer):
    """Presidio's e-mail recogniser without its network, and disguised addresses."""

    def validate_result(self, pattern_text: str) -> bool:
        """Returns whether the domain ends in a public suffix."""
        return bool(_EXTRACT(pattern_text).top_domain_under_public_suffix)

    def analyze(self, text: str, entities: list[str], *args: Any, **kwargs: Any) -> list[RecognizerResult]:
        """Returns plain and disguised addresses."""
        plain = super().analyze(text, entities, *args, **kwargs) if "@" in text else []
        return [*plain, *_DISGUISED.analyze(text, entities)]


def build() -> EmailRecognizer:
    """Returns the recogniser."""
    return OfflineEmailRecognizer()
