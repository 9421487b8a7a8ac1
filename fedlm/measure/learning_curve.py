"""The learning curve: its best round, and how far the last evaluation's loss lies above the training loss.

Evaluation during training reads validation text, or held-out text in a run without it.
"""

import math

from fedlm.measure.metric import Better, Metric, RunEvidence

METRICS = (
    Metric("best_round", "round with the lowest evaluation loss", "round"),
    Metric("best_bits_per_char", "evaluation loss in the best round", "bits per character", Better.LOWER),
    Metric("generalisation_gap", "evaluation minus training loss at the end", "bits per token", Better.LOWER),
)


def figures(run: RunEvidence) -> dict[str, float]:
    """Returns the figures of a run that was evaluated after training; nothing for another."""
    evaluated = [line for line in run.rounds if line.get("tokens") and "eval" in line]
    if not evaluated:
        return {}
    best, last = min(evaluated, key=lambda line: line["eval"]["loss"]), evaluated[-1]
    return {
        "best_round": float(best["round"]),
        "best_bits_per_char": best["eval"]["bits_per_char"],
        "generalisation_gap": (last["eval"]["loss"] - last["train_loss"]) / math.log(2),  # nats to bits
    }
