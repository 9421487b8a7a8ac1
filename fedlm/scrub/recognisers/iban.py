"""IBANs in lower case, or with blanks, hyphens and line ends, by their checksum (ISO 13616); Presidio finds capitals only."""

import re

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.patterns import Rules, rule

RUNS_MODEL = False
HITS = (
    ("to gb82 west 1234 5698 7654 32", "gb82 west 1234 5698 7654 32"),
    ("GB82-WEST-1234-5698-7654-32 it is", "GB82-WEST-1234-5698-7654-32"),
    ("to GB82  WEST\n1234\t5698 - 7654 32.", "GB82  WEST\n1234\t5698 - 7654 32"),
)
NEAR_MISSES = ("to gb82 west 1234 5698 7654 33",)

_SEPARATORS = re.compile(r"[\s-]")


def is_iban(text: str) -> bool:
    """Whether the checksum is valid: with the first four characters moved to the end and read in base 36, it is 1 modulo 97.

    >>> is_iban("gb82 west 1234 5698 7654 32")
    True
    """
    plain = _SEPARATORS.sub("", text).upper()
    if not 15 <= len(plain) <= 34 or not plain.isascii() or not plain.isalnum():
        return False
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    blocks = r"(?<![A-Za-z0-9])[A-Za-z]{2}\d\d(?:[\s-]{0,3}[A-Za-z0-9]{4}){2,7}(?:[\s-]{0,3}[A-Za-z0-9]{1,3})?(?![A-Za-z0-9])"
    return Rules("iban", (rule("IBAN_CODE", blocks, 1.0, accept=is_iban),))
