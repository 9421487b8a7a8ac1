"""Vocabularies learned from a public text: words, and byte-pair encoding.

Byte pairs: Sennrich et al. 2016, https://arxiv.org/abs/1508.07909, on bytes as in GPT-2.
(`fedlm/privacy/vocabulary.py` learns words from private text, with noise.) A vocabulary is one JSON
file (`kind`, `symbols`, `merges`); nothing in it is executed. Its ids: the four specials, the
symbols, and last the placeholders that scrubbing leaves. A word carries the space before it, so
that decoding gives the text again. A word that is not in the vocabulary is charged for its spelling
(`unknown.py`), so bits per character never flatter a model.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fedlm.errors import ConfigError, check_number
from fedlm.system.plain_text import read_json
from fedlm.text.vocabulary import PLACEHOLDER_BASE, PLACEHOLDERS, SPECIALS, UNKNOWN, Vocabulary
from fedlm.types import Ids

FORMAT = "fedlm vocabulary 1"
KINDS = ("words", "bpe")
_PLACEHOLDERS = tuple(chr(PLACEHOLDER_BASE + k) for k in range(PLACEHOLDERS))
_PLACEHOLDER = re.compile(f"([{_PLACEHOLDERS[0]}-{_PLACEHOLDERS[-1]}])")
_WORD = re.compile(rf" ?\w+(?:['’]\w+)*| ?[^\w\s{_PLACEHOLDERS[0]}-{_PLACEHOLDERS[-1]}]|.", re.DOTALL)
_BLANKS = (" ", "\n")  # always in a vocabulary of words: they surround placeholders and separate lines
_BYTE_CHARACTERS = [*range(33, 127), *range(161, 173), *range(174, 256)]  # GPT-2 writes these bytes as themselves


class WordVocabulary(Vocabulary):
    """Words with the space before them, punctuation, and single white space."""

    @cached_property
    def _table(self) -> dict[str, int]:
        return {s: i for i, s in enumerate(self.symbols) if s}

    def encode(self, text: str) -> Ids:
        """Returns the ids of `text`, without start and end."""
        return np.array([self._table.get(word, UNKNOWN) for word in _WORD.findall(text)], np.int32)

    def unknown(self, text: str) -> list[str]:
        """Returns the words and characters of `text` that are not in the vocabulary."""
        return [word for word in _WORD.findall(text) if word not in self._table]

    def _lengths(self) -> npt.NDArray[np.int64]:
        return np.array([len(s) for s in self.symbols], np.int64)


class PairVocabulary(Vocabulary):
    """Byte-pair encoding; symbols are written in GPT-2's byte alphabet. No text has unknown symbols."""

    merges: tuple[tuple[str, str], ...] = ()

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer, models, pre_tokenizers

        ids = {s: i for i, s in enumerate(self.symbols[:-PLACEHOLDERS]) if s}
        tokenizer = Tokenizer(models.BPE(vocab=ids, merges=list(self.merges)))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return tokenizer

    def encode(self, text: str) -> Ids:
        """Returns the ids of `text`, without start and end."""
        ids: list[int] = []
        first = self.size - PLACEHOLDERS
        for part in _PLACEHOLDER.split(text):
            if part in _PLACEHOLDERS:
                ids.append(first + ord(part) - PLACEHOLDER_BASE)
            elif part:
                ids.extend(self._tokenizer.encode(part).ids)
        return np.array(ids, np.int32)

    def unknown(self, text: str) -> list[str]:
        """Returns nothing: every byte has an id."""
        return []

    def piece(self, symbol: int) -> bytes:
        """Returns the UTF-8 bytes of an id, perhaps a part of a character."""
        if symbol >= self.size - PLACEHOLDERS:
            return self.symbols[symbol].encode()
        if symbol < SPECIALS:
            return super().piece(symbol)
        return bytes(byte_of()[c] for c in self.symbols[symbol])

    def _lengths(self) -> npt.NDArray[np.int64]:
        return np.array([sum(b & 0xC0 != 0x80 for b in self.piece(i)) for i in range(self.size)], np.int64)


@cache
def learned_vocabulary(name: str, kind: str, text: str) -> Vocabulary:
    """Returns the vocabulary of a file's content.

    Args:
      name: spec string, for messages.
      kind: "words" or "bpe".
      text: content of the file.

    Raises:
      ConfigError: the content is not a vocabulary of that kind.
    """
    wrong = ConfigError(f"The vocabulary {name!r} is not a file that `fedlm vocabulary --kind {kind}` has written.")
    try:
        content = read_json(text)
        symbols, merges = content["symbols"], [tuple(pair) for pair in content.get("merges", [])]
        right = content["format"] == FORMAT and content["kind"] == kind and len(set(symbols)) == len(symbols)
        texts = all(isinstance(s, str) and s.encode() for s in [*symbols, *(part for pair in merges for part in pair)])
        pairs = all(len(pair) == 2 and "".join(pair) in set(symbols) for pair in merges[:1]) and texts
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
    ):  # a remote text may be nested thousands deep
        raise wrong from None
    if not (right and pairs and (kind == "words" or set("".join(symbols)) <= set(byte_of()))):
        raise wrong
    every = ("",) * SPECIALS + tuple(symbols) + _PLACEHOLDERS
    if kind == "words":
        return WordVocabulary(name, every)
    made = PairVocabulary(name, every)
    object.__setattr__(made, "merges", tuple(merges))
    try:
        made.encode("a")
    except Exception:  # noqa: BLE001 - tokenizers raises plain Exception for merges that do not fit
        raise wrong from None
    return made


def learn(texts: Iterable[str], kind: str, size: int) -> str:
    """Learns a vocabulary from public text; returns the content of its file.

    Args:
      texts: public documents.
      kind: "words" (the most frequent ones) or "bpe".
      size: number of ids, specials and placeholders included.

    Raises:
      ConfigError: there is no such kind, or the size is too small.
    """
    count = size - SPECIALS - PLACEHOLDERS  # symbols to learn
    if kind not in KINDS:
        raise ConfigError(f"There is no kind of vocabulary {kind!r}: use {' or '.join(KINDS)}.")
    check_number(f"the size of a {kind} vocabulary", size, ge=size - count + (3 if kind == "words" else 256))
    content: dict[str, Any] = {"format": FORMAT, "kind": kind}
    if kind == "words":
        counts = Counter(w for t in texts for w in words_of(t))
        return words_content(sorted(counts, key=lambda word: (-counts[word], word)), size)
    content["symbols"], content["merges"] = _learn_pairs(texts, count)
    return json.dumps(content, ensure_ascii=False) + "\n"


def words_of(text: str) -> list[str]:
    """Returns the words and punctuation of a text, without placeholders and blanks, which every vocabulary has."""
    return [w for w in _WORD.findall(text) if w not in _PLACEHOLDERS and w not in _BLANKS]


def words_content(words: Sequence[str], size: int, **about: object) -> str:
    """Returns the content of the file of a vocabulary of words.

    Args:
      words: of `words_of`, the most frequent first; as many are kept as fit.
      size: number of ids, specials, blanks and placeholders included.
      about: further keys of the file.
    """
    count = size - SPECIALS - PLACEHOLDERS - len(_BLANKS)
    content = {"format": FORMAT, "kind": "words", **about, "symbols": [*_BLANKS, *words[:count]]}
    return json.dumps(content, ensure_ascii=False) + "\n"


def _learn_pairs(texts: Iterable[str], count: int) -> tuple[list[str], list[list[str]]]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=count, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator((_PLACEHOLDER.sub(" ", t) for t in texts), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].get), [list(pair) for pair in model["merges"]]


@cache
def byte_of() -> dict[str, int]:
    """Returns the byte of each character of GPT-2's alphabet, which has a printable character for every byte."""
    others = [b for b in range(256) if b not in _BYTE_CHARACTERS]
    return {chr(b): b for b in _BYTE_CHARACTERS} | {chr(256 + n): b for n, b in enumerate(others)}
