"""Ages: the number in "37 years old", "37-year-old", "aged 37", "she's 37", "37 yo"."""

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.letters import LOWER, UNCASED
from fedlm.scrub.patterns import DIGITS, Rules, rule

RUNS_MODEL = False
HITS = (
    ("she is 37 years old", "37"),
    ("a man aged 41, alone", "41"),
    ("my 12-year-old reads", "12"),
)
NEAR_MISSES = (
    "37 years later",
    "page 37 of 90",
)

_AGE = r"(?P<it>(?:1[01]\d|[1-9]\d|[1-9]))"


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    return Rules(
        "age",
        (
            rule("AGE", rf"(?i)(?<![\w.]){_AGE}[ -]?(?:years?|yrs?|months?)[ -]?(?:old|of[ ]age)\b", 0.9),
            rule("AGE", rf"(?i)(?<![\w.]){_AGE}[ ]?(?:y/?o|y\.o\.)(?!\w)", 0.8),
            rule(
                "AGE",
                rf"(?i)\b(?:aged?|aged?[ ]of|age[ ]is|turn(?:s|ed|ing)|at[ ]age)[ :=]{{1,2}}{_AGE}\b(?![.,/:]?\d|%|[ ]?[ap]m)",
                0.75,
            ),
            rule(
                "AGE",
                rf"(?i)\b(?:i'?m|i[ ]am|he[ ]is|she[ ]is|he's|she's|who[ ]is|is[ ]now)[ ]{_AGE}(?=[ ]?(?:[.,;!?)\n]|$|and\b|now\b|today\b))(?![.,]\d)",
                0.6,
            ),
            rule("AGE", rf"(?<=,[ ])(?<=[{LOWER}{UNCASED}],[ ]){_AGE}(?=,[ ](?:of|from|who|was|has|is)\b)", 0.6),
        ),
        needs=DIGITS,
    )
