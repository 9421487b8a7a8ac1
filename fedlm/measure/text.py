"""Utility over held-out tokens: sums first, ratios last."""

import math

from fedlm.types import TextMetrics


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
        "perplexity": math.exp(min(loss, 700.0)),
        "bits_per_char": total.loss_sum / math.log(2) / max(total.characters, 1),
        "tokens": total.tokens,
    }
