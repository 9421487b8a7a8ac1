"""Card numbers in groups that several blanks, hyphens or a line end part, by their check digit (Luhn, ISO/IEC 7812-1)."""

import re

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.patterns import DIGITS, Rules, rule

RUNS_MODEL = False
HITS = (
    ("card 4111  1111  1111  1111 ok", "4111  1111  1111  1111"),
    ("4111 - 1111 - 1111 - 1111", "4111 - 1111 - 1111 - 1111"),
    ("pay 3782\n822463\t10005 now", "3782\n822463\t10005"),
)
NEAR_MISSES = (
    "4111  1111  1111  1112",
    "sold 4111\n1111\n1111\n1111",  # a column of numbers
    "in 2002  2003  2004  2005",  # years, whose check digit fits
)

_SEPARATORS = re.compile(r"[\s-]")
_GAP = r"[\s-]{1,3}"


def has_check_digit(text: str) -> bool:
    """Whether the digits end in their check digit: every second one from the right doubled, digit sums add to 0 modulo 10.

    >>> has_check_digit("4111 1111 1111 1111"), has_check_digit("4111 1111 1111 1112")
    (True, False)
    """
    digits = [int(c) for c in reversed(_SEPARATORS.sub("", text))]
    return sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)) % 10 == 0


def _is_card(text: str) -> bool:
    return text.count("\n") <= 1 and has_check_digit(text)


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    first = r"(?:[3-6]\d{3}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720))"  # of Mastercard's second series: no year
    fours, amex = rf"{first}(?:{_GAP}\d{{4}}){{3}}", rf"3[47]\d\d{_GAP}\d{{6}}{_GAP}\d{{5}}"
    pattern = rf"(?<![\w-])(?:{fours}|{amex})(?![\w-])"
    return Rules("card", (rule("CREDIT_CARD", pattern, 1.0, accept=_is_card),), needs=DIGITS)
