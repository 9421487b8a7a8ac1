"""The model against the 5-gram of the pooled training text: what counting achieves without training (`ngram.py`)."""

import math
from collections.abc import Mapping, Sequence

from fedlm.measure.metric import Better, Metric, RunEvidence
from fedlm.measure.ngram import LARGEST

METRICS = (
    Metric(LARGEST, f"loss of the {LARGEST} of the pooled training text", "bits per character", Better.LOWER),
    Metric("above_ngram", f"loss above the {LARGEST} of the pooled training text", "bits per character", Better.LOWER),
)


def figures(run: RunEvidence) -> dict[str, float]:
    """Returns the 5-gram's loss and the model's excess over it; a model below 0 has learned more than counts."""
    found = run.ngrams().get(LARGEST, math.nan)
    characters = run.characters.sum()
    if math.isnan(found) or not characters:
        return {}
    return {LARGEST: found, "above_ngram": float(run.loss_bits.sum() / characters) - found}


def not_passed(runs: Sequence[Mapping[str, float]]) -> str:
    """Returns a sentence about the runs that have not passed the 5-gram, by their figures; "" if all have."""
    excess = [figures["above_ngram"] for figures in runs if "above_ngram" in figures]
    behind = sum(bits >= 0 for bits in excess)
    if not behind:
        return ""
    return (
        f"In {behind} of {len(excess)} runs the model has not passed the {LARGEST} of the same text: counts of successive "
        "symbols predict it better, and differences between such models say little about training."
    )
