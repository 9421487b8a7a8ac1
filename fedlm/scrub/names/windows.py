"""Which parts of a text are analysed: segments of bounded size, pieces for the names model, stretches for patterns."""

import re

from fedlm.scrub.letters import CAPITAL

_BREAK = re.compile(rf"\n\s*\n|(?<=[.!?])\s+(?=[\"“'(]?[{CAPITAL}])|\n")
PIECE_CHARACTERS = 420  # about 100 tokens


def pieces(text: str) -> list[tuple[int, int]]:
    """Returns spans that cover `text` except blanks: sentences and lines, joined up to about one window of the model."""
    ends = [m.end() for m in _BREAK.finditer(text)]
    if not ends or ends[-1] < len(text):
        ends.append(len(text))
    spans: list[tuple[int, int]] = []
    at = 0
    for end in ends:
        if spans and end - spans[-1][0] <= PIECE_CHARACTERS:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((at, end))
        at = end
    return [s for s in spans if text[s[0] : s[1]].strip()]


SEGMENT_CHARACTERS = 20_000
WORD_CHARACTERS = 500
_LONG_WORD = re.compile(rf"\S{{{WORD_CHARACTERS}}}(?=\S)")


def segments(text: str) -> list[tuple[int, int]]:
    """Returns spans that cover `text`, for Presidio's patterns, whose time may grow with the square of the length.

    A cut is at the end of a line, otherwise of a sentence, otherwise at a blank; inside a word only if it has more than
    WORD_CHARACTERS.
    """
    cuts, at = [m.end() for m in _LONG_WORD.finditer(text)], 0
    spans: list[tuple[int, int]] = []
    for end in [*cuts, len(text)]:
        while end - at > SEGMENT_CHARACTERS:
            cut = _cut(text, at + SEGMENT_CHARACTERS // 2, at + SEGMENT_CHARACTERS)
            spans.append((at, cut))
            at = cut
        if end > at:
            spans.append((at, end))
            at = end
    return spans


def _cut(text: str, first: int, last: int) -> int:
    """Returns where to cut between two positions: at the best sign, or at the second position."""
    for sign in ("\n", ". ", " "):
        if (place := text.rfind(sign, first, last)) >= 0:
            return place + len(sign)
    return last


# Enough digits for a number that identifies, or letters and digits in one word; hexadecimal pairs; short IPv6.
_SIGN = re.compile(
    r"\w*\d(?:[\w().:/+ -]{0,2}\d){3,}|[A-Za-z]+-?\d[\w-]{3,}|\d[\w-]*[A-Z][\w-]{3,}|(?:[0-9A-Fa-f]{2}[:-]){5}|::|\b[A-Za-z]{1,3} \d{2,}|[13][A-HJ-NP-Za-km-z]{25,}|\b[A-Z]\w{6,}\d"
)
_MARGIN = 64  # characters on both sides, so that a number's context words are included


def stretches(text: str) -> list[tuple[int, int]]:
    """Returns the spans of `text` that patterns for numbers need to read; they end at blanks and do not overlap."""
    spans: list[tuple[int, int]] = []
    for match in _SIGN.finditer(text):
        start, end = max(0, match.start() - _MARGIN), min(len(text), match.end() + _MARGIN)
        start = text.rfind(" ", 0, start) + 1 if start else 0
        end = len(text) if (blank := text.find(" ", end)) < 0 else blank
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans
