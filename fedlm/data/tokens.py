"""Vocabularies: symbols to ids and back. None is learnt from private text; `learned.py` has words and byte pairs.

`chars` has 86 characters, padding, start, end and unknown (90, as in McMahan et al. 2017), and 38 symbols reserved for
the placeholders that scrubbing leaves (128 in all). `bytes` is UTF-8 itself.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fedlm.errors import ConfigError
from fedlm.spec import parse_spec
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


def vocabulary(spec: str, text: str = "") -> Vocabulary:
    """Returns the vocabulary of a spec: `chars`, `chars(placeholders=0)`, `bytes`, or a learned one.

    Args:
      spec: `words(file='v.json')` and `bpe(file='v.json')` are learned ones.
      text: content of the file of a learned one; this function opens no file.

    Raises:
      ConfigError: there is no such vocabulary, or the content is not one.

    >>> vocabulary("chars").size, vocabulary("chars(placeholders=0)").size, vocabulary("bytes").size
    (128, 90, 260)
    """
    parsed = parse_spec(spec)
    if parsed.name in ("words", "bpe") and isinstance(parsed.options.get("file"), str):
        from fedlm.data.learned import learned_vocabulary

        return learned_vocabulary(spec, parsed.name, text)
    return _fixed(spec)


@lru_cache(maxsize=4)  # a preparation asks for it twice a client
def _fixed(spec: str) -> Vocabulary:
    parsed = parse_spec(spec)
    specials = ("",) * SPECIALS
    if parsed.name == "bytes" and not parsed.options:
        return Vocabulary(spec, specials + tuple(chr(b) for b in range(256)), is_bytes=True)
    placeholders = parsed.options.get("placeholders", PLACEHOLDERS)
    if parsed.name != "chars" or set(parsed.options) - {"placeholders"} or placeholders not in range(PLACEHOLDERS + 1):
        raise ConfigError(
            f"There is no vocabulary {spec!r}: use chars, chars(placeholders=0), bytes, words(file=...) or bpe(file=...)."
        )
    private = tuple(chr(PLACEHOLDER_BASE + k) for k in range(placeholders))
    return Vocabulary(spec, specials + tuple(CHARACTERS) + private)


def windows(documents: list[str], vocab: Vocabulary, seq_len: int) -> tuple[Ids, Ids]:
    """Cuts a client's documents into rows for next-symbol prediction.

    Each document, between start and end, is cut into rows of its own, as in Reddi et al. 2021 (appendix on Shakespeare):
    row r of it predicts its symbols r * seq_len + 1 ... (r + 1) * seq_len. The last row of a document is padded.

    Returns:
      inputs and targets, both (rows, seq_len) int32; a target 0 is padding.
    """
    streams = [np.concatenate(([START], vocab.encode(d), [END])).astype(np.int32) for d in documents]
    rows = [-(-(len(s) - 1) // seq_len) for s in streams]
    inputs = np.full((sum(rows), seq_len), PAD, np.int32)
    targets = np.full((sum(rows), seq_len), PAD, np.int32)
    first = 0
    for stream, count in zip(streams, rows, strict=True):
        size = len(stream) - 1
        inputs[first : first + count].reshape(-1)[:size] = stream[:-1]
        targets[first : first + count].reshape(-1)[:size] = stream[1:]
        first += count
    return inputs, targets
