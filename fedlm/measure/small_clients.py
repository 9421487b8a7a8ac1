"""Loss of the clients with the least training text."""

import math

from fedlm.measure.metric import Better, Metric, RunEvidence
from fedlm.types import TextMetrics

METRICS = (
    Metric("small_clients", "loss of the quarter of clients with the least text", "bits per character", Better.LOWER),
)


def figures(run: RunEvidence) -> dict[str, float]:
    """Returns the loss over the smallest quarter of the clients, at least one: sums first, the ratio last."""
    ordered = sorted(run.clients, key=lambda c: c.train_tokens)  # stable: ties stay in the order of pseudonyms
    total = sum((c.held_out for c in ordered[: max(1, len(ordered) // 4)]), TextMetrics())
    bits = total.loss_sum / math.log(2) / total.characters if total.characters else math.nan
    return {"small_clients": bits}
