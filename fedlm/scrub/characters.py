"""Plain forms of single characters: which of ASCII's a character looks like, which are invisible, which belong together.

Everything is asked of `unicodedata`, so a newer Python knows newer characters.
"""

import re
import unicodedata
from functools import lru_cache

MOST_MARKS = 30  # of one character that count, as in Unicode's stream-safe text: sorting them takes quadratic time
# Letters on which every mark that Unicode cannot compose is decoration; elsewhere (Devanagari, Thai) marks are vowels.
_BARE = re.compile("[\0-\u058f\u1e00-\u2bff\u2c60-\u2c7f\ua720-\ua7ff\uab30-\uab6f]")
# Signs that look like one of ASCII's and have another category than Pd or no compatibility form.
_ALIKE = {
    **dict.fromkeys("\u02d7\u2043\u2212\u2796\u2cba", "-"),
    **dict.fromkeys("\u2044\u2215\u29f8", "/"),
    "\u2236": ":",
    "\ua789": ":",
    "\u2795": "+",
    "\u2800": " ",  # Braille without dots
    "\x1f": " ",
    **{
        chr(first + n): chr(65 + n) for first in (0x1F150, 0x1F170) for n in range(26)
    },  # letters in black circles and boxes
}
# Dashes of a sentence. LONG finds those that stand for a hyphen: beside digits, or at the beginning of a line.
_LONG_DASHES = "\u2013\u2014\u2015\u2e3a\u2e3b\u301c\u3030"
LONG = re.compile(rf"(?<=[\w)])[{_LONG_DASHES}](?=[\d(])|(?<=\d)[{_LONG_DASHES}](?=\w)|(?:\A|(?<=\n))[{_LONG_DASHES}]")
ELLIPSIS = re.compile(r"(?<=\.\.)\.(?=[\d+(@])")  # a dot before a number is part of it, an ellipsis is not
IDEOGRAPHIC_STOP = re.compile(r"(?<=[A-Za-z0-9])\u3002(?=[A-Za-z0-9])")  # parts a domain, too
# Unicode's default ignorable code points outside Cf.
_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)


@lru_cache(maxsize=4096)
def form(letters: str) -> str:
    """Returns the plain form of one character with its marks."""
    signs, is_bare = list[str](), True
    for character in unicodedata.normalize("NFKC", letters):
        if not _is_mark(character):
            signs.append(_sign(character))
            is_bare = bool(_BARE.match(signs[-1]))
        elif not is_bare:
            signs.append(character)
    return "".join(signs)


class _Alone(dict[int, int]):
    """The plain form of each character that has one of one character and needs no neighbour for it; 0 for others."""

    def __missing__(self, code: int) -> int:
        character = chr(code)
        plain = "" if character in "\r\n" or joins(character) or is_invisible(character) else form(character)
        self[code] = ord(plain) if len(plain) == 1 else 0
        return self[code]


_ALONE = _Alone()


def one_for_one(text: str) -> str | None:
    """Returns the plain form of characters that need no neighbours, of the same length; None if some do."""
    plain = text.translate(_ALONE)
    return None if "\0" in plain else plain


def _sign(character: str) -> str:
    """Returns ASCII's sign for a digit, space, hyphen or line end, and any other character itself."""
    if character.isascii() and character.isprintable():
        return character
    category, digit = unicodedata.category(character), unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    if character in _ALIKE:
        return _ALIKE[character]
    if category == "Zs":
        return " "
    if category == "Pd" and character not in _LONG_DASHES:
        return "-"
    if character in "\t\n":
        return character
    return "\n" if len(f"a{character}a".splitlines()) == 2 else character


@lru_cache(maxsize=4096)
def joins(character: str) -> bool:
    """Whether a character is part of the one before: a mark, or a vowel or final consonant of Korean."""
    if character.isascii() or is_invisible(character):
        return False
    first = unicodedata.normalize("NFKC", character)[:1]
    return _is_mark(first) or "\u1161" <= first <= "\u11ff"


@lru_cache(maxsize=4096)
def is_invisible(character: str) -> bool:
    """Whether a character has no form of its own: a control or format character, a selector, a filler."""
    if unicodedata.category(character) == "Cc":
        return not character.isspace()
    return unicodedata.category(character) == "Cf" or bool(_IGNORABLE.match(character))


def trails(character: str) -> bool:
    """Whether a character may not be left behind by a finding that ends before it."""
    return character in "\u200c\u200d" or _is_mark(character) or joins(character)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")
