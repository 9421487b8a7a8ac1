"""Vocabularies: symbols to ids and back. None is learnt from private text; `learned.py` has words and byte pairs.

`chars` has 86 characters, padding, start, end and unknown (90, as in McMahan et al. 2017), and 38 symbols reserved for
the placeholders that scrubbing leaves (128 in all). `bytes` is UTF-8 itself.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedlm.types import Ids

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIALS = 4

# Printable ASCII and the newline, without the ten rarest of English text: \ ^ ` { | } ~ # % @  (96 - 10 = 86).
CHARACTERS = "\n" + "".join(chr(c) for c in range(32, 127) if chr(c) not in "\\^`{|}~#%@")

# A placeholder of kind k is the private-use character PLACEHOLDER_BASE + k. The order of kinds is append-only.
PLACEHOLDER_BASE = 0xE000
PLACEHOLDERS = 38


@dataclass(frozen=True)
class Vocabulary:
    """A fixed mapping between text and ids.

    Attributes:
      name: the spec that makes it.
      symbols: text of each id; the four specials are empty.
      is_bytes: ids stand for UTF-8 bytes.
    """

    name: str
    symbols: tuple[str, ...]
    is_bytes: bool = False

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.symbols)

    @property
    def characters(self) -> npt.NDArray[np.int64]:
        """How many characters of text each id begins, as a target (size,); an unknown character is one."""
        counts = np.arange(self.size) >= UNKNOWN
        if self.is_bytes:
            byte = np.arange(self.size) - SPECIALS
            counts &= (byte & 0xC0) != 0x80  # continuation bytes of UTF-8
        return counts.astype(np.int64)

    def encode(self, text: str) -> Ids:
        """Returns the ids of `text`, without start and end."""
        if self.is_bytes:
            return np.frombuffer(text.encode(), np.uint8).astype(np.int32) + SPECIALS
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        table = _lookup(self.symbols)
        return table[np.minimum(points, len(table) - 1)]

    def piece(self, symbol: int) -> bytes:
        """Returns the UTF-8 bytes of an id; nothing for specials, U+FFFD for unknown. It may be part of a character."""
        if symbol < SPECIALS:
            return "\ufffd".encode() if symbol == UNKNOWN else b""
        return bytes([symbol - SPECIALS]) if self.is_bytes else self.symbols[symbol].encode()

    def decode(self, ids: Ids) -> str:
        """Returns the text of `ids`."""
        return b"".join(self.piece(int(i)) for i in ids).decode(errors="replace")


_TABLES: dict[tuple[str, ...], Ids] = {}


def _lookup(symbols: tuple[str, ...]) -> Ids:
    if symbols not in _TABLES:
        table = np.full(PLACEHOLDER_BASE + PLACEHOLDERS + 1, UNKNOWN, np.int32)
        for index, symbol in enumerate(symbols):
            if symbol:
                table[ord(symbol)] = index
        _TABLES[symbols] = table
    return _TABLES[symbols]
