"""One person, one name: how a corpus may write a client's name, and the form in which it is a client.

A name is normalised to NFC, and whitespace and invisible characters at its ends are removed. Letter case stays: `Ann` and
`ann` are two clients, because user names of many systems differ in case only. Characters inside a name stay too: a
zero-width joiner inside a Persian or Indic name is spelling.
"""

import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache

_INVISIBLE = {"Cc", "Cf", "Zs", "Zl", "Zp"}  # controls, format characters, and the three kinds of separators
_FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # letters and marks that show nothing
_AROUND = (" ", "\t", "\n", "\r", "\r\n", "\u00a0", "\u202f", "\u200b", "\u200e", "\u2060", "\u00ad", "\ufeff")


def whole(text: str) -> str:
    """Returns a text that UTF-8 can encode: surrogate pairs are joined, a single half becomes U+FFFD.

    JSON (`"\\ud83d"`) and file names can hold halves. spaCy, encoders and hashes refuse them, or confuse two names.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


@lru_cache(maxsize=4096)
def client_name(written: str) -> str:
    """Returns the name of the client that a corpus writes so: NFC, without what is invisible at the ends; "" for nothing else.

    >>> client_name("\\ufeffA\\u0301lvaro\\u00a0") == client_name("\\u00c1lvaro")
    True
    """
    return normal(whole(written))


def normal(name: str) -> str:
    """Returns a name in NFC, without what is invisible at the ends; halves of surrogate pairs stay as they are."""
    before = ""
    while name != before:  # NFC may compose what stripping has joined
        before, name = name, unicodedata.normalize("NFC", _stripped(name))
    return name


def _stripped(name: str) -> str:
    first, last = 0, len(name)
    while first < last and _shows_nothing(name[first]):
        first += 1
    while first < last and _shows_nothing(name[last - 1]):
        last -= 1
    return name[first:last]


def _shows_nothing(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in _INVISIBLE or character in _FILLERS


def forms(name: str) -> tuple[str, ...]:
    """Returns ways in which a vault of an earlier version, which kept names as written, may hold a client.

    Tombstones hold no names, so a forgotten client is found by trying them. Held clients are compared by `client_name`.
    """
    own = [name, whole(name), client_name(name)]
    cores = [unicodedata.normalize(form, core) for core in own for form in ("NFC", "NFD")]
    around = [form for core in cores for mark in _AROUND for form in (mark + core, core + mark)]
    return tuple(dict.fromkeys([*own, *cores, *around]))


@dataclass
class Spellings:
    """Counts the clients whose names a corpus writes in several ways. Of plain names it keeps hashes only."""

    _plain: set[int] = field(default_factory=set)
    _others: dict[str, set[int]] = field(default_factory=dict)

    def add(self, written: str, name: str) -> None:
        """Takes a name as written, and as `client_name` returned it."""
        if written == name:
            self._plain.add(hash(name))
        else:
            self._others.setdefault(name, set()).add(hash(written))

    def joined(self) -> tuple[int, int]:
        """Returns the clients with more than one spelling, and their spellings together."""
        counts = [len(others) + (hash(name) in self._plain) for name, others in self._others.items()]
        several = [count for count in counts if count > 1]
        return len(several), sum(several)
