"""Numbers that identify a person or an account: at least nine digits, or letters with six digits, in one string.

They need no checksum and no context word, so their score is low and any other finding at the same place wins.
"""

import re

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.letters import CAPITAL
from fedlm.scrub.patterns import DIGITS, Rules, rule

RUNS_MODEL = False
HITS = (
    ("my ssn is 123-45-6789", "123-45-6789"),
    ("passport no. C01X00T47 or 123456789", "123456789"),
)
NEAR_MISSES = (
    "order 1,000,000,000 of them",
    "in 2020 and 2021",
)

_MONEY = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|0+|\d+\.\d+")


def _identifies(text: str) -> bool:
    return not _MONEY.fullmatch(text) and len({c for c in text if c.isdigit()}) > 1


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    return Rules(
        "number",
        (
            rule(
                "GOVERNMENT_ID",
                r"(?:(?<![\w.,$£€/#-])|(?<=[^\W\d_],))\d(?:[ -]?\d){8,}(?![\w-]|[.,]\d)",
                0.42,
                accept=_identifies,
            ),
            rule(
                "GOVERNMENT_ID",
                rf"(?<![\w.,$£€/#@-])(?=(?:[{CAPITAL}-]*\d){{6}})(?=\d*-?[{CAPITAL}])[{CAPITAL}\d](?:-?[{CAPITAL}\d]){{6,19}}(?![\w-])",
                0.42,
            ),
            rule(
                "GOVERNMENT_ID",
                r"(?i)\b(?:social[ ]security|ssn|passport|national[ ](?:id|insurance)|identity[ ]card|id[ ]card|tax[ ]id|tin|id)[ ]?(?:number|no\.?|nr\.?|\#)?[ ]?(?:is|:|=|\#)[ ]?(?P<it>(?=[\w-]*\d[\w-]*\d[\w-]*\d)[^\W_][\w-]{4,18}[^\W_])\b",
                0.6,
            ),
            rule("US_SSN", r"(?<![\w-])(?!000|666)[0-9]{3}[- ](?!00)\d\d[- ](?!0000)\d{4}(?![\w-])", 0.85),
            rule("US_SSN", r"(?i)\b(?:ssn|social[ ]security)\b[^\d\n]{0,20}(?P<it>\d{9})(?!\d)", 0.9),
            rule(
                "US_DRIVER_LICENSE",
                r"(?i)\b(?:driver'?s?|driving|driver)[ ]?(?:license|licence|permit|lic)?\b[^\d\n]{0,24}?(?<!\w)(?P<it>(?=[\w-]*\d{3})[^\W\d_]{0,3}\d(?:[^\W_]|-){4,17})(?!\w)",
                0.85,
            ),
            rule(
                "US_DRIVER_LICENSE",
                r"(?i)\b(?:licen[sc]e|dl|permit)[ ]?(?:number|no\.?|num|\#)?(?:[ ]is|[ ]?[:=\#])?[ ]?(?P<it>(?=[\w-]*\d{4})[^\W\d_]{0,3}\d(?:[^\W_]|-){4,17})(?!\w)",
                0.7,
            ),
            rule("PASSPORT", r"(?i)\bpassport\b[^\d\n]{0,20}?(?<!\w)(?P<it>[^\W\d_]{0,2}\d{6,9}[^\W\d_]?)(?!\w)", 0.85),
            rule(
                "US_BANK_NUMBER",
                r"(?i)\b(?:account|acct|a/c|konto)\b[ ]?(?:number|no\.?|nr\.?|\#)?(?:[ ]is|[ ]?[:=\#])?[ ]?(?P<it>\d(?:[ -]?\d){5,16})(?!\w)",
                0.75,
            ),
            rule(
                "CREDIT_CARD",
                r"(?i)\b(?:card|visa|mastercard|amex)\b[^\d\n]{0,24}(?P<it>\d(?:[ -]?\d){12,18})(?!\w)",
                0.85,
            ),
        ),
        needs=DIGITS,
    )
