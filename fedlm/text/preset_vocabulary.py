"""Vocabularies of presets: byte pairs as in GPT-2 and word pieces as in BERT, under fedlm's ids.

Padding, start, end and unknown come first, as in every vocabulary (`vocabulary.py`); then the
preset's other tokens in their own order. `order` gives the preset's token of each id. GPT-2 has one
special token, <|endoftext|>: it is the end, and the model reads it for the start, too. Text is
split as KerasHub does; it needs TensorFlow for this, Hugging Face's `tokenizers`, with the same
ids, does not.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fedlm.text.learned import byte_of
from fedlm.text.vocabulary import PLACEHOLDER_BASE, PLACEHOLDERS, SPECIALS, UNKNOWN, Vocabulary
from fedlm.types import Ids

END_OF_TEXT = "<|endoftext|>"
_BERT_SPECIALS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")
_PLACEHOLDER = re.compile(f"([{chr(PLACEHOLDER_BASE)}-{chr(PLACEHOLDER_BASE + PLACEHOLDERS - 1)}])")
_BLANK = r"[ \t\n\r\f]|\p{Cc}|\p{Cf}"
_CJK = r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]"
_ALONE = rf"[!-/:-@\[-`{{-~]|\p{{P}}|{_CJK}"  # punctuation and CJK characters are words of their own


@dataclass(frozen=True)
class PieceVocabulary(Vocabulary):
    """The tokens of a preset.

    Attributes:
      order: the preset's token of each id; -1 for a special that the preset does not have.
    """

    order: tuple[int, ...] = ()

    @property
    def mask(self) -> int:
        """The id of [MASK], which replaces a hidden token; ValueError if the preset has none."""
        return self.symbols.index("[MASK]")


@dataclass(frozen=True)
class BytePairs(PieceVocabulary):
    """GPT-2's byte-pair encoding; symbols are written in its byte alphabet. No text has unknown symbols."""

    merges: tuple[tuple[str, str], ...] = ()

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer, models, pre_tokenizers

        ids = {s: i for i, s in enumerate(self.symbols) if s}
        tokenizer = Tokenizer(models.BPE(vocab=ids, merges=list(self.merges)))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return tokenizer

    def encode(self, text: str) -> Ids:
        """Returns the ids of `text`, without start and end; a text that spells a special token is still text."""
        return np.array(self._tokenizer.encode(text).ids, np.int32)

    def unknown(self, text: str) -> list[str]:
        """Returns nothing: every byte has an id."""
        return []

    def piece(self, symbol: int) -> bytes:
        """Returns the UTF-8 bytes of an id, perhaps a part of a character."""
        if symbol < SPECIALS:
            return super().piece(symbol)
        return bytes(byte_of()[c] for c in self.symbols[symbol])

    def _lengths(self) -> npt.NDArray[np.int64]:
        return np.array([sum(b & 0xC0 != 0x80 for b in self.piece(i)) for i in range(self.size)], np.int64)


@dataclass(frozen=True)
class WordPieces(PieceVocabulary):
    """BERT's words and ends of words (`##ing`). The k-th placeholder of scrubbing is the token `[unusedk]`."""

    lowercase: bool = False
    strip_accents: bool = False

    @cached_property
    def _table(self) -> dict[str, int]:
        return {s: i for i, s in enumerate(self.symbols) if s}

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Regex, Tokenizer, models, pre_tokenizers

        words = models.WordPiece(vocab={"[UNK]": UNKNOWN, **self._table})
        tokenizer = Tokenizer(words)
        split = [pre_tokenizers.Split(Regex(_BLANK), "removed"), pre_tokenizers.Split(Regex(_ALONE), "isolated")]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split)
        return tokenizer

    def encode(self, text: str) -> Ids:
        """Returns the ids of `text`, without start and end."""
        ids: list[int] = []
        for part in _PLACEHOLDER.split(text):
            if _PLACEHOLDER.fullmatch(part):
                ids.append(self._table.get(f"[unused{ord(part) - PLACEHOLDER_BASE}]", UNKNOWN))
            elif part:
                ids.extend(self._tokenizer.encode(self._normal(part)).ids)
        return np.array(ids, np.int32)

    def unknown(self, text: str) -> list[str]:
        """Returns the words of `text`, as they are normalised for the model, that have no pieces."""
        found = list[str]()
        for part in map(self._normal, _PLACEHOLDER.split(text)):
            if _PLACEHOLDER.fullmatch(part):
                found += [part] * (f"[unused{ord(part) - PLACEHOLDER_BASE}]" not in self._table)
            elif part:
                made = self._tokenizer.encode(part)
                found += [part[a:b] for id_, (a, b) in zip(made.ids, made.offsets, strict=True) if id_ == UNKNOWN]
        return found

    def _normal(self, text: str) -> str:
        if self.strip_accents:
            text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
        if self.lowercase:  # Unicode's NFKC_Casefold
            text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        return text

    def piece(self, symbol: int) -> bytes:
        """Returns the UTF-8 bytes of an id, with a space before a token that begins a word."""
        if symbol < SPECIALS:
            return super().piece(symbol)
        text = self.symbols[symbol]
        return (text[2:] if text.startswith("##") else f" {text}").encode()

    def _lengths(self) -> npt.NDArray[np.int64]:
        """Returns the characters of each id, (size,); spaces count as none."""
        return np.array([len(s.removeprefix("##")) for s in self.symbols], np.int64)


def byte_pairs(ids: Mapping[str, int], merges: Sequence[str]) -> BytePairs:
    """Returns GPT-2's vocabulary from the content of `vocabulary.json` and the lines of `merges.txt`.

    Raises:
      ValueError, KeyError: they are not a vocabulary and its merges.
    """
    end = ids[END_OF_TEXT]
    tokens = sorted(ids, key=ids.__getitem__)
    if [ids[t] for t in tokens] != list(range(len(tokens))):
        raise ValueError("ids are not 0 to the size of the vocabulary")
    pairs = tuple((first, second) for first, second in (line.split(" ") for line in merges))
    others = [t for t in tokens if t != END_OF_TEXT]
    if not set("".join(others)) <= set(byte_of()):
        raise ValueError("a token is not in the alphabet of bytes")
    order = (-1, -1, end, -1, *(ids[t] for t in others))
    made = BytePairs("preset", ("",) * SPECIALS + tuple(others), order=order, merges=pairs)
    try:
        made.encode("a")
    except Exception as error:  # noqa: BLE001 - tokenizers raises plain Exception for merges that do not fit
        raise ValueError(str(error)) from None
    return made


def word_pieces(tokens: Sequence[str], *, lowercase: bool, strip_accents: bool) -> WordPieces:
    """Returns BERT's vocabulary from the lines of `vocabulary.txt`.

    Raises:
      ValueError: a special token is missing, or a token occurs twice.
    """
    if len(set(tokens)) != len(tokens) or "[MASK]" not in tokens:
        raise ValueError("a token occurs twice, or [MASK] is missing")
    specials = [tokens.index(s) for s in _BERT_SPECIALS]
    others = [i for i in range(len(tokens)) if i not in specials]
    symbols = ("",) * SPECIALS + tuple(tokens[i] for i in others)
    order = (*specials, *others)
    return WordPieces("preset", symbols, order=order, lowercase=lowercase, strip_accents=strip_accents)
