"""Measures the ranges in which `names/encoder.py` rounds to 8 bits: the smallest and largest input of each matrix product.

    python -m fedlm.scrub.calibrate TEXTS.jsonl...

Each file is JSONL with `text`; the first 200 texts of each are read. The network runs in float32.
"""

import argparse
import json
from itertools import islice
from pathlib import Path

import numpy as np

from fedlm.scrub.names import tagger
from fedlm.scrub.names.encoder import fused
from fedlm.scrub.names.windows import pieces

TEXTS = 200


def ranges(texts: list[str]) -> list[tuple[float, float]]:
    """Returns (smallest, largest) of each product's input, in order; zero is always inside, as padding needs it."""
    tokenizer, session = tagger.load_tokenizer(), tagger.open_session(fused(tagger.model_file(), None))
    low, high = np.zeros(24), np.zeros(24)
    for text in texts:
        for window in tagger.windows(tokenizer, text, pieces(text)):
            inputs = session.run(None, tagger.feed([window]))[1:]
            low = np.minimum(low, [values.min() for values in inputs])
            high = np.maximum(high, [values.max() for values in inputs])
    return list(zip(low.tolist(), high.tolist(), strict=True))


def main() -> None:
    """Reads the arguments, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path, nargs="+")
    texts: list[str] = []
    for path in parser.parse_args().texts:
        with path.open(encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] for line in islice(lines, TEXTS)]
    print(*(f"({low:.2f}, {high:.2f})," for low, high in ranges(texts)))


if __name__ == "__main__":
    main()
