"""Kinds of personal data, and the placeholder of each: one private-use character, one symbol of the vocabulary.

The order is append-only: a kind's index is its place in the vocabulary of every model ever trained.
"""

import re
from enum import IntEnum

from fedlm.data.tokens import PLACEHOLDER_BASE, PLACEHOLDERS


class Kind(IntEnum):
    """A kind of personal data."""

    PERSON = 0
    ADDRESS = 1
    LOCATION = 2
    POSTCODE = 3
    ORGANISATION = 4
    PHONE = 5
    EMAIL = 6
    URL = 7
    USERNAME = 8
    IP_ADDRESS = 9
    MAC_ADDRESS = 10
    CARD = 11
    IBAN = 12
    BANK_ACCOUNT = 13
    NATIONAL_ID = 14
    TAX_ID = 15
    DRIVING_LICENCE = 16
    PASSPORT = 17
    VEHICLE_PLATE = 18
    DATE = 19
    AGE = 20
    TITLE = 21
    COORDINATES = 22
    CRYPTO_WALLET = 23
    SECRET = 24
    MEDICAL_ID = 25
    NATIONALITY = 26  # and religion and party: Presidio's NRP

    @property
    def placeholder(self) -> str:
        """The character that stands for a finding of this kind."""
        return chr(PLACEHOLDER_BASE + self.value)


_PRIVATE_USE = dict.fromkeys(range(PLACEHOLDER_BASE, 0xF8FF + 1))


def strip_placeholders(text: str) -> str:
    """Returns `text` without private-use characters, so that input cannot forge a placeholder."""
    return text.translate(_PRIVATE_USE)


def readable(text: str) -> str:
    """Returns `text` with placeholders written as <PERSON>, for display.

    >>> readable("Dear \\ue000,")
    'Dear <PERSON>,'
    """
    return text.translate({PLACEHOLDER_BASE + k.value: f"<{k.name}>" for k in Kind})


# What `readable` writes, so that scrubbed text can be scrubbed again.
WRITTEN = re.compile(rf"<(?:{'|'.join(kind.name for kind in Kind)})>")

assert len(Kind) <= PLACEHOLDERS
