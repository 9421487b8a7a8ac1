"""Fixed vocabularies, characters and bytes: text to ids and back.

Ids 0 to 3 are padding, start, end and unknown in every vocabulary. `chars` adds 86 characters (90
in total, as in McMahan et al. 2017), and 38 symbols reserved for the placeholders that scrubbing
leaves (128). `bytes` is UTF-8 itself. Words and byte pairs: `learned.py`. Tokens of pretrained
models: `preset_vocabulary.py`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedlm.types import Ids

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIALS = 4

# Printable ASCII and the newline, without the ten rarest of English text: \ ^ ` { | } ~ # % @  (96 - 10 = 86).
CHARACTERS = "\n" + "".join(chr(c) for c in range(32, 127) if chr(c) not in "\\^`{|}~#%@")

# The placeholder of the k-th kind of personal data is the private-use character PLACEHOLDER_BASE +
# k. The order of kinds is append-only: models and vaults keep their meaning.
PLACEHOLDER_BASE = 0xE000
PLACEHOLDERS = 38


@dataclass(frozen=True)
class Vocabulary:
    """A fixed mapping between text and ids.

    Attributes:
      name: the spec that makes it.
      symbols: text of each id; the four specials are empty.
      is_bytes: ids are UTF-8 bytes; `symbols` then holds the character of each byte's number.
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
        """How many characters of text begin with each id, (size,) int64.

        Bits per character divide by the sum of these over the targets, so they compare between
        vocabularies. The end of a document is a symbol to be predicted: it costs bits, and counts
        as one character. So does an unknown symbol, see `unknown.py`.
        """
        counts = self._lengths()
        counts[[PAD, START]], counts[[END, UNKNOWN]] = 0, 1
        return counts

    def _lengths(self) -> npt.NDArray[np.int64]:
        """Returns how many characters begin in each id, (size,); the specials do not matter."""
        if not self.is_bytes:
            return np.ones(self.size, np.int64)
        byte = np.arange(self.size) - SPECIALS
        begins: npt.NDArray[np.bool_] = (byte & 0xC0) != 0x80  # others are continuation bytes of UTF-8
        return begins.astype(np.int64)

    def encode(self, text: str) -> Ids:
        """Returns the ids of `text`, (symbols,) int32, without start and end."""
        if self.is_bytes:
            return np.frombuffer(text.encode(), np.uint8).astype(np.int32) + SPECIALS
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        table = _lookup(self.symbols)
        return table[np.minimum(points, len(table) - 1)]

    def unknown(self, text: str) -> list[str]:
        """Returns the pieces of `text` that have no id of their own, in order: those that `encode` gives UNKNOWN."""
        if self.is_bytes:
            return []
        return [text[at] for at in np.flatnonzero(self.encode(text) == UNKNOWN)]

    def piece(self, symbol: int) -> bytes:
        """Returns the UTF-8 bytes of an id, perhaps a part of a character; none for specials, U+FFFD for unknown."""
        if symbol < SPECIALS:
            return "\ufffd".encode() if symbol == UNKNOWN else b""
        return bytes([symbol - SPECIALS]) if self.is_bytes else self.symbols[symbol].encode()

    def decode(self, ids: Ids) -> str:
        """Returns the text of `ids`; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self.piece(int(i)) for i in ids).decode(errors="replace")


_TABLES: dict[tuple[str, ...], Ids] = {}


def _lookup(symbols: tuple[str, ...]) -> Ids:
    """Returns the id of each code point up to the last placeholder; one more entry is for all other code points."""
    if symbols not in _TABLES:
        table = np.full(PLACEHOLDER_BASE + PLACEHOLDERS + 1, UNKNOWN, np.int32)
        for index, symbol in enumerate(symbols):
            if symbol:
                table[ord(symbol)] = index
        _TABLES[symbols] = table
    return _TABLES[symbols]
