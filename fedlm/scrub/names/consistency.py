"""A name that is certain in one place of a text is masked in its other places too.

"From: Jane Doe" makes sure of "jane said" further down, where nothing else tells. The parts of an e-mail address are such
names as well, if they stand in a name list. Names that are words first ("will", "hope") are left alone, and what is no
given name counts with a capital only: surnames are often words ("brown").
"""

import re
from collections.abc import Iterator, Sequence

from fedlm.scrub.names.lexicon import Lexicon

SURE = 0.65  # a finding's score from which on its words are looked for elsewhere
SCORE = 0.5
_WORD = re.compile(r"[^\W\d_](?:[\w'’-]*[^\W_])?")
_POSSESSIVE = re.compile(r"['’]s$")
_SHORTEST = 3
_ALSO_WORDS = (
    "will mark may june april august hope grace rose bill art sue pat rich gene dale wade norm faith joy summer dawn amber ivy "
    "penny chase hunter jack frank drew rob guy ray max miles angel honey king prince christian melody star young long day "
    "price cook white brown green black gray grey wood stone hill field banks park lane street church bush rice love best "
    "good new but all any are can for had has her his not now one our out she the they this too was who why you"
)
_WORDS_FIRST = frozenset(_ALSO_WORDS.split())

Span = tuple[int, int]


def repeated(
    text: str, names: Sequence[Span], addresses: Sequence[Span], taken: Sequence[Span], lexicon: Lexicon
) -> list[Span]:
    """Returns further places of names, outside of what is taken.

    Args:
      text: the text.
      names: spans of names of persons that are certain.
      addresses: spans of e-mail addresses.
      taken: spans of all findings.
      lexicon: says which words are names.
    """
    words = {w for a, b in names for w in _words(text[a:b]) if w.lower() not in _WORDS_FIRST}
    words |= {w for a, b in addresses for w in _named(text[a:b].partition("@")[0], lexicon)}
    if not words:
        return []
    lower = {w.lower() for w in words if lexicon.is_given_name(w.lower())}
    forms = {form for w in words for form in (w, w.capitalize())} | lower
    one = "|".join(map(re.escape, sorted(forms, key=lambda w: (-len(w), w))))
    pattern = re.compile(rf"(?<![\w@./#-])(?:{one})(?:[ ](?:{one}))*(?![\w@]|\.\w)")
    spans = (m.span() for m in pattern.finditer(text))
    return [(a, b) for a, b in spans if not any(first < b and a < last for first, last in taken)]


def _words(name: str) -> Iterator[str]:
    for match in _WORD.finditer(name):
        word = _POSSESSIVE.sub("", match[0])
        if len(word) >= _SHORTEST and word[0].isupper():
            yield word


def _named(local: str, lexicon: Lexicon) -> Iterator[str]:
    """Yields the listed names in the part of an address before the @."""
    for match in _WORD.finditer(local.replace("_", " ").replace("-", " ")):
        word = match[0].lower()
        if len(word) >= _SHORTEST and lexicon.is_name(word) and word not in _WORDS_FIRST:
            yield word.capitalize()
