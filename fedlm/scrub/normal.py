"""Text as recognisers read it: one form of every character, and the way back to the original.

A no-break space, U+2011, a full-width @ or an accent of its own look like a space, a hyphen, @ or a letter, and no
pattern knows them. `View.text` has the plain character in their place. A finding there is replaced in the original, which
keeps all its other characters. A text and its NFC, NFD and NFKC have the same view.

What is changed:
  - every character and its marks to NFKC (Unicode Standard Annex 15); marks left over on a Latin, Greek or Cyrillic letter,
    a digit or a sign are omitted;
  - digits of any script to 0-9, spaces (Zs) to a space, hyphens to "-", line ends of `str.splitlines` to "\\n";
  - characters without a form of their own (Cf, Cc, variation selectors, fillers) are omitted;
  - HTML's character references (`&#64;`) and, outside web addresses, percent signs with two digits (`%40`) are decoded.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from fedlm.scrub.characters import (
    ELLIPSIS,
    IDEOGRAPHIC_STOP,
    LONG,
    MOST_MARKS,
    form,
    is_invisible,
    joins,
    one_for_one,
    trails,
)
from fedlm.scrub.codes import STEPS, Edit, has_codes

ZERO_WIDTH_SPACE = "\u200b"
ROUNDS = 3  # of decoding: `&amp;#37;40` is @
_ODD = re.compile(r"(?:\r\n|[^\t\n -~])+")
_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # in pairs: one of them is useless


@dataclass(frozen=True)
class _Shifts:
    """Where one rewriting changed the length: places of the new text, and those of the old."""

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    old: list[tuple[int, int]] = field(default_factory=list)

    def first(self, place: int) -> int:
        """Returns where the old characters of the one at `place` begin."""
        near = bisect_right(self.starts, place) - 1
        if near < 0:
            return place
        return self.old[near][0] if place < self.ends[near] else place + self.old[near][1] - self.ends[near]

    def last(self, place: int) -> int:
        """Returns where the old characters of the one at `place` end."""
        near = bisect_right(self.starts, place) - 1
        if near < 0:
            return place + 1
        return self.old[near][1] if place < self.ends[near] else place + 1 + self.old[near][1] - self.ends[near]


@dataclass(frozen=True)
class View:
    """A text in its plain form.

    Attributes:
      text: what recognisers read.
      original: the text itself.
    """

    text: str
    original: str
    _shifts: tuple[_Shifts, ...] = ()

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Returns the original's span of [start, end) of `text`: whole characters with all their marks."""
        if self.text is self.original or start >= end:
            return start, end
        for shifts in reversed(self._shifts):
            start, end = shifts.first(start), shifts.last(end - 1)
        while start and joins(self.original[start]):
            start -= 1
        return start, _behind_marks(self.original, end)


def _behind_marks(text: str, end: int) -> int:
    """Returns the end of a finding's last character with its marks, and with invisible ones unless they part two words."""
    place = end
    while place < len(text) and (trails(text[place]) or (is_invisible(text[place]) and text[place] not in _DIRECTIONS)):
        place += 1
        if trails(text[place - 1]):
            end = place
    return end if text[place : place + 1].isalnum() else place


def view(text: str) -> View:
    """Returns the plain form of a text, in time linear in its length; printable ASCII is its own form.

    >>> seen = view("Tel.\\u00a0\\uff10\\uff11\\uff15\\uff11 or A\\u0301lvaro")
    >>> seen.text, seen.span(13, 19)
    ('Tel. 0151 or Álvaro', (13, 20))
    """
    if not _ODD.search(text) and not has_codes(text):
        return View(_in_context(text) if ".." in text else text, text)
    plain, shifts = _rewritten(text, _folded(text))
    stages = [shifts]
    for _ in range(ROUNDS):
        if not has_codes(plain):
            break
        for step in (*STEPS, _folded):
            plain, shifts = _rewritten(plain, step(plain))
            stages.append(shifts)
    return View(_in_context(plain), text, tuple(stages))


def _in_context(text: str) -> str:
    """Returns a text of the same length, with the signs that stand for another one beside their neighbours only."""
    text = ELLIPSIS.sub(" ", LONG.sub("-", text))
    return IDEOGRAPHIC_STOP.sub(".", text)


def views(text: str) -> list[View]:
    """Returns the plain forms to read: a second one if a zero-width space may be inside a word or between two words."""
    if ZERO_WIDTH_SPACE not in text:
        return [view(text)]
    return [view(text), replace(view(text.replace(ZERO_WIDTH_SPACE, " ")), original=text)]


def plain(text: str) -> str:
    """Returns the plain form's text.

    >>> plain("Jane\\u2011Marie\\r\\n")
    'Jane-Marie\\n'
    """
    return view(text).text


def _rewritten(text: str, edits: Iterable[Edit]) -> tuple[str, _Shifts]:
    pieces, shifts = list[str](), _Shifts()
    at = length = 0
    for start, end, put, is_aligned in edits:
        pieces += (text[at:start], put)
        length += start - at
        if len(put) != end - start or (end - start > 1 and not is_aligned):
            shifts.starts.append(length)
            shifts.ends.append(length + len(put))
            shifts.old.append((start, end))
        length += len(put)
        at = end
    return "".join([*pieces, text[at:]]), shifts


def _folded(text: str) -> Iterator[Edit]:
    for run in _ODD.finditer(text):
        if (plain := one_for_one(run[0])) is not None:
            yield *run.span(), plain, True
        else:
            yield from _characters(text, *run.span())


def _characters(text: str, at: int, end: int) -> Iterator[Edit]:
    """Yields each character of a run, with its marks, in its plain form."""
    first = next((i for i in range(at, end) if not is_invisible(text[i])), end)
    if at and first < end and joins(text[first]):
        at -= 1  # the mark belongs to the ASCII letter before
    while at < end:
        if text.startswith("\r\n", at):
            last, letters = at + 2, "\n"
        elif is_invisible(text[at]):
            last, letters = at + 1, ""
        else:
            last, letters = _with_marks(text, at, end)
        yield at, last, form(letters), False
        at = last


def _with_marks(text: str, at: int, end: int) -> tuple[int, str]:
    """Returns the end of a character's last mark, and both without what is invisible between them."""
    last, marks = at + 1, []
    for place in range(at + 1, end):
        if joins(text[place]):
            marks.append(text[place])
            last = place + 1
        elif not is_invisible(text[place]):
            break
    return last, text[at] + "".join(marks[:MOST_MARKS])
