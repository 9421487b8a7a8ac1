"""Unicode's classes of letters for patterns, because `[A-Z]` and `[A-ZÀ-Þ]` miss Łukasz, Šárka, Őry, Σοφία and Анна.

Each constant is the inside of a character class, to be written between brackets: rf"[{CAPITAL}][\\w{MARK}'’-]*". Recognisers
read the plain form of a text, so digits are 0-9, spaces are " " and hyphens are "-" (`normal`).

Formats of one country or system (IBANs, postcodes, keys) name ASCII's letters themselves, because theirs are these.
"""

import re
import sys
import unicodedata
from collections.abc import Iterator
from itertools import groupby

_LAST = 0x20000  # letters beyond are ideographs, without case


def _ranges(categories: frozenset[str]) -> Iterator[str]:
    codes = (c for c in range(min(_LAST, sys.maxunicode)) if unicodedata.category(chr(c)) in categories)
    for _, run in groupby(enumerate(codes), lambda pair: pair[1] - pair[0]):
        first, *_, last = [code for _, code in run] * 2
        yield re.escape(chr(first)) + ("" if first == last else f"-{re.escape(chr(last))}")


def _inside(*categories: str) -> str:
    return "".join(_ranges(frozenset(categories)))


CAPITAL = _inside("Lu", "Lt")
LOWER = _inside("Ll")
UNCASED = _inside("Lo", "Lm") + "\u10d0-\u10fa\u10fd-\u10ff"
"""Letters of scripts that have no capitals, such as Arabic, Devanagari, Hangul and Chinese; and of Georgian, whose sentences
and names have none either, although Unicode calls its letters small."""
LETTER = CAPITAL + LOWER + UNCASED
MARK = _inside("Mn", "Mc")
"""Vowel signs of many scripts, which are no part of a word for `\\w`."""
