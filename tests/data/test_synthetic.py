"""Generated messages: the same options give the same messages, in whatever process."""

import os
import subprocess
import sys

from fedlm.data.synthetic import _LOCALES, _faker, _value
from fedlm.rng import Purpose, stream

_KINDS = ("PERSON", "EMAIL", "PHONE", "ADDRESS", "LOCATION", "DATE", "IBAN", "CARD", "IP_ADDRESS", "ORGANISATION")
_CODE = """
import hashlib
from tests.data.test_synthetic import values
print(hashlib.sha256(repr(values()).encode()).hexdigest())
"""


def values() -> list[tuple[str, list[str]]]:
    """Returns some values of every kind, from generators of every country."""
    found = dict[str, list[str]]()
    for number in range(200):
        fake, locale = _faker(stream(0, Purpose.SYNTHETIC_TEXT, 0, number))
        found.setdefault(locale, [_value(kind, fake) for kind in _KINDS for _ in range(20)])
    return sorted(found.items())


def test_values_do_not_depend_on_the_processs_hashes() -> None:
    assert [locale for locale, _ in values()] == sorted(_LOCALES)
    hashes = {
        subprocess.run(
            [sys.executable, "-c", _CODE],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(hashes) == 1
