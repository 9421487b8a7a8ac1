"""A name that is certain in one place of a text is masked wherever else it occurs.

"From: Jane Doe" makes "jane said" further down certain, where nothing else identifies a name. The parts of an e-mail
address count as names too, if they are in a name list. Names that are usually words ("will", "hope") are ignored, and a
word that is not a given name must be capitalised: many surnames are words ("brown").
"""

import re
from collections.abc import Iterator, Sequence

from fedlm.scrub.names.lexicon import Lexicon

SURE = 0.65  # the lowest score of a finding whose words are searched elsewhere
SCORE = 0.5  # of what is found that way
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
    """Returns further occurrences of names, outside all findings.

    Args:
      text: the text.
      names: spans of persons' names that are certain.
      addresses: spans of e-mail addresses.
      taken: spans of all findings.
      lexicon: the name lists.
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
