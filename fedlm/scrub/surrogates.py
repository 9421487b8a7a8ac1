"""Surrogates keep a text readable: within a client, the same name always gets the same surrogate.

A surrogate is drawn with HMAC-SHA256 under the client's own key, which derives from the corpus key and the client's name.
Without the key, an attacker cannot reverse a surrogate, test a guess, or see that two clients write about one person.
"""

import hashlib
import hmac
import re
from functools import lru_cache

from fedlm.scrub.kinds import Kind

_SYLLABLES = [
    a + b
    for a in ["b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "br", "dr", "st", "tr"]
    for b in ["a", "e", "i", "o", "u", "an", "el", "in", "or", "us"]
]
_PART = re.compile(r"[^\W\d_]+|\d")
_ADDRESSES = {Kind.EMAIL: "{}@{}.example", Kind.URL: "https://{}.{}.example", Kind.USERNAME: "@{}{}"}


class Surrogates:
    """One client's surrogates.

    Args:
      key: the corpus' secret key, at least 16 bytes.
      client: the client's name.

    Raises:
      ValueError: the key is too short.
    """

    def __init__(self, key: bytes, client: str) -> None:
        if len(key) < 16:
            raise ValueError(f"Expected a key of at least 16 bytes, not {len(key)}.")
        # The label keeps this key apart from all others that derive from the corpus key; it is part of every old vault.
        self._key = hmac.digest(key, b"fedlm pseudonyms\0" + client.encode(), hashlib.sha256)

    def surrogate(self, kind: Kind, found: str) -> str:
        """Returns the surrogate: words for words, digits for digits, with capitals, blanks and punctuation kept."""
        if kind in _ADDRESSES:
            return _ADDRESSES[kind].format(self._word(kind, found.lower()), self._word(kind, "at " + found.lower()))
        return _PART.sub(lambda part: self._part(kind, part[0], part.start(), found), found)

    def _part(self, kind: Kind, part: str, place: int, found: str) -> str:
        if part.isdigit():
            # Each digit depends on the whole number: ten digits drawn one by one would be a substitution cipher.
            return str(self._draw(kind, f"{place} {found}") % 10)
        word = self._name(part) if kind is Kind.PERSON else self._word(kind, part.lower())
        return word.upper() if part.isupper() and len(part) > 1 else word.capitalize() if part[0].isupper() else word

    def _name(self, part: str) -> str:
        names = _given_names()
        return names[self._draw(Kind.PERSON, part.lower()) % len(names)]

    def _word(self, kind: Kind, text: str) -> str:
        value = self._draw(kind, text)
        count = 2 + value % 2  # two or three syllables, from bits that the count does not use
        return "".join(_SYLLABLES[(value >> (8 + 16 * i)) % len(_SYLLABLES)] for i in range(count))

    def _draw(self, kind: Kind, text: str) -> int:
        """Returns 64 bits: HMAC(client's key, kind || text)."""
        return int.from_bytes(hmac.digest(self._key, bytes([kind]) + text.encode(), hashlib.sha256)[:8])


@lru_cache(maxsize=1)
def _given_names() -> list[str]:
    from faker.providers.person.en_US import Provider

    return sorted({n.lower() for n in [*Provider.first_names_female, *Provider.first_names_male]})
