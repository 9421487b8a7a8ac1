"""Quality over held-out tokens: sums first, ratios last."""

import math

from fedlm.measure.metric import Better, Metric, RunEvidence, bits_per_character
from fedlm.measure.ngram import LARGEST
from fedlm.types import TextMetrics

METRICS = (
    Metric("bits_per_char", "held-out loss", "bits per character", Better.LOWER, reference=LARGEST),
    Metric("accuracy", "held-out accuracy", "fraction of tokens", Better.HIGHER, margin=0.005),
    Metric("perplexity", "held-out perplexity", "per token", Better.LOWER),
    Metric("loss", "held-out loss", "nats per token", Better.LOWER),
)
_LARGEST_LOSS = 700.0  # exp(709.8) is the largest float64


def figures(run: RunEvidence) -> dict[str, float]:
    """Returns the figures over all clients' held-out text."""
    found = summary(sum((c.held_out for c in run.clients), TextMetrics()))
    return {metric.name: found[metric.name] for metric in METRICS}


def summary(total: TextMetrics) -> dict[str, float]:
    """Returns loss (nats per token), accuracy, perplexity, bits per character and tokens; ratios of nothing are NaN.

    >>> summary(TextMetrics(loss_sum=2 * math.log(4), correct=1, tokens=2, characters=2))["bits_per_char"]
    2.0
    """
    if total.tokens == 0:
        return {"loss": math.nan, "accuracy": math.nan, "perplexity": math.nan, "bits_per_char": math.nan, "tokens": 0}
    loss = total.loss_sum / total.tokens
    return {
        "loss": loss,
        "accuracy": total.correct / total.tokens,
        "perplexity": math.exp(min(loss, _LARGEST_LOSS)),
        "bits_per_char": bits_per_character(total),
        "tokens": total.tokens,
    }
