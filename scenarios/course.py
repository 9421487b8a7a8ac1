"""What the course of a run says: speed, traffic, and how far the model fits its training text better than other text."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fedlm.sums import ExactSum
from fedlm.types import Weights


def course(lines: Sequence[Mapping[str, Any]], weights: Weights) -> dict[str, float]:
    """Returns figures from the lines of metrics.jsonl; what the run lacks is left out.

    Args:
      lines: a round each.
      weights: of the model.

    Returns:
      `tokens_per_second` of the rounds after the first, which compiles; `bytes_per_round`, the arrays of a round and
      a node: weights down and exact sums up; round and figure of the best evaluation; and how much lower the training loss
      of the last one was than its held-out loss.
    """
    trained = [line for line in lines if line.get("tokens")]
    if not trained:
        return {}
    sums = 2 if any("drift" in line for line in trained) else 1
    up = sums * sum(s.nbytes for s in ExactSum.zeros_like(weights).sums)
    found = {"bytes_per_round": float(sum(w.nbytes for w in weights) + up)}
    seconds = sum(line["seconds"] for line in trained[1:])
    if seconds:
        found["tokens_per_second"] = sum(line["tokens"] for line in trained[1:]) / seconds
    evaluated = [line for line in trained if "eval" in line]
    if evaluated:
        best = min(evaluated, key=lambda line: line["eval"]["loss"])
        found["best_round"] = float(best["round"])
        found["best_bits_per_char"] = best["eval"]["bits_per_char"]
        last = evaluated[-1]
        found["generalisation_gap"] = (last["eval"]["loss"] - last["train_loss"]) / math.log(2)
    return found
