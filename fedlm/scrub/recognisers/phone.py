"""Telephone numbers, international and informal: candidates by form, then libphonenumber's plans of some thirty countries.

Presidio searches the text once per country; this recogniser checks each candidate once.
"""

import re
from functools import lru_cache
from typing import Any

from presidio_analyzer import EntityRecognizer, RecognizerResult

from fedlm.scrub.patterns import DIGITS

RUNS_MODEL = False
HITS = (
    ("call +44 151 234 5678", "+44 151 234 5678"),
    ("text me on (030) 1234567", "(030) 1234567"),
)
NEAR_MISSES = (
    "it cost 1,234,567 pounds",
    "ping 10.1.2.3",
)

_REGIONS = "US GB DE FR ES IT NL PL TR IN AU IL BR CH AT BE SE NO DK FI IE PT GR CZ RU JP CN KR MX ZA PH NZ SG"
_CANDIDATE = re.compile(
    r"(?:(?<![\w.,/@=-])|(?<=[^\W\d_],)|(?<=tel\.)|(?<=fax\.)|(?<=[.,/=-])(?=\+\d))(?:\+|00|\()?\(?\d(?:[\d()]|[ \t.\-–/]{1,2}(?=[\d(]))*\d(?:[ ]?(?:x|ext\.?|extension|\#)[ ]?\d{1,6})?(?![\w@]|[.,]\d)",
    re.IGNORECASE,
)
_CONTEXT = re.compile(
    r"(?i)(?:phone|telephone|\btel\b|\bcell|mobile|\bmob\b|\bfax|call|text|whats\s?app|dial|ring|number|reach|contact|handy|tél|sms)"
)
_NOT_PHONE = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}|\d{4}[-/. ]\d{1,2}[-/. ]\d{1,2}|\d{1,2}[-/. ]\d{1,2}[-/. ]\d{4}")


class PhoneNumbers(EntityRecognizer):
    """Numbers that are valid or likely in some country."""

    def __init__(self) -> None:
        super().__init__(["PHONE_NUMBER"], name="phone", supported_language="en")

    def load(self) -> None:
        """Does nothing."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:
        """Returns the telephone numbers."""
        found = list[RecognizerResult]()
        if not any(digit in text for digit in DIGITS):
            return found
        for match in _CANDIDATE.finditer(text):
            start, end = match.span()
            told = bool(_CONTEXT.search(text, max(0, start - 40), start))
            score = _score(match[0], told)
            if score:
                found.append(RecognizerResult("PHONE_NUMBER", start, end, score))
        return found


def _score(number: str, told: bool) -> float:
    """Returns the certainty of a candidate, 0 for none; `told` says that a word such as "call" comes before it."""
    digits = sum(c.isdigit() for c in number)
    if not 7 <= digits <= 20 or _NOT_PHONE.fullmatch(number):
        return 0.0
    written = number.startswith(("+", "(")) or len(re.findall(r"[ \-.–/()]+", number)) >= 2
    valid = _is_valid(re.sub(r"(?i)(?:x|ext|#).*", "", number))
    if number.startswith(("+", "00")) and 8 <= digits <= 15:
        return 0.9 if valid else 0.65
    if valid:
        return 0.75 if written or told else 0.5
    if told and digits <= 15:
        return 0.65
    return 0.45 if written and 9 <= digits <= 14 else 0.0


@lru_cache(maxsize=4096)
def _is_valid(number: str) -> bool:
    import phonenumbers

    for region in [None] if number.startswith("+") else _REGIONS.split():
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(number, region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    return PhoneNumbers()
