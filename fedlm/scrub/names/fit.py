"""Fits the weights of `classifier.py`: multinomial logistic regression over words, each set of texts with equal weight.

    python -m fedlm.scrub.names.fit OUT.npy tweets.jsonl ... [--generated office.jsonl ...]

Each file is JSONL with `text` and `spans`. Generated sets were made from the name lists that the features use, so half of
each list is hidden while their features are computed.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.optimize import minimize  # installed by Keras and others, not needed to scrub

from fedlm.scrub.names.classifier import CLASSES, WIDTH, Matrix, features
from fedlm.scrub.names.lexicon import Lexicon
from fedlm.scrub.names.tagger import tag

L2 = 3e-4
_CLASS = {"PERSON": 1, "LOCATION": 2, "ORGANIZATION": 3, "STREET_ADDRESS": 4}


def read(path: Path, *, generated: bool) -> tuple[Matrix, list[int]]:
    """Returns features and classes of the words of a file."""
    lexicon, rows, classes = Lexicon(half=generated), [], list[int]()
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for record, tagged in zip(records, tag([record["text"] for record in records]), strict=True):
        if tagged.words:
            rows.append(features(tagged, lexicon))
            classes += [_class(record["spans"], *word) for word in tagged.words]
    return np.concatenate(rows), classes


def _class(spans: list[dict[str, object]], start: int, end: int) -> int:
    found = (_CLASS.get(str(s["label"]), 0) for s in spans if int(str(s["start"])) < end and int(str(s["end"])) > start)
    return next(found, 0)


def fit(sets: list[tuple[Matrix, list[int]]]) -> Matrix:
    """Returns the weights (WIDTH, classes) that minimise the weighted cross-entropy plus L2 times their squared norm."""
    x = np.concatenate([s[0] for s in sets]).astype(np.float64)
    y = np.concatenate([s[1] for s in sets])
    share = np.concatenate([np.full(len(s[1]), 1 / len(s[1])) for s in sets])
    place = np.arange(len(y))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        logits = x @ flat.reshape(WIDTH, -1)
        logits -= logits.max(1, keepdims=True)
        q = np.exp(logits)
        q /= q.sum(1, keepdims=True)
        value = -(share * np.log(q[place, y] + 1e-12)).sum() + L2 * flat @ flat
        q[place, y] -= 1  # the gradient of the cross-entropy by the logits: softmax - one-hot
        return float(value), (x.T @ (q * share[:, None])).ravel() + 2 * L2 * flat

    start = np.zeros(WIDTH * len(CLASSES))
    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    return np.asarray(best, np.float32).reshape(WIDTH, -1)


def main() -> None:
    """Reads the arguments, fits, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("texts", type=Path, nargs="*")
    parser.add_argument("--generated", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    sets = [read(p, generated=False) for p in options.texts] + [read(p, generated=True) for p in options.generated]
    np.save(options.out, fit(sets))


if __name__ == "__main__":
    main()
