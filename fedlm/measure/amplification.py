"""Bias amplification: the model's centred log-odds of the stereotyped pronoun minus those of its training text.

A model that repeats its text has 0; one that prefers the stereotype more than its text does is above it (after Zhao et al. 2017,
https://arxiv.org/abs/1707.09457, on log-odds in the place of shares).
"""

import math
from collections.abc import Sequence

import numpy as np

from fedlm.measure.metric import Metric
from fedlm.measure.pairs import Pair
from fedlm.measure.spans import Gap, centred_log_odds, span_of

METRICS = (
    Metric("data_pronoun_bias", "centred log-odds of the stereotyped pronoun in the text", "nats", optional=True),
    Metric("bias_amplification", "the model's centred log-odds minus the text's", "nats", margin=0.1, optional=True),
)
_ADDED = 0.5  # to each count (Haldane 1956): a pronoun that never occurs has finite odds


def data_log_odds(pairs: Sequence[Pair], texts: Sequence[str]) -> Gap:
    """Returns the centred log-odds of pronouns in a text, by counting what pairs of pronouns say up to the pronoun.

    Args:
      pairs: those that differ in a pronoun count; one whose beginning occurs nowhere is left out.
      texts: training documents.
    """
    spans = [(span, pair.cluster) for pair in pairs if (span := span_of(pair)).pronouns]
    together = "\0".join(texts)
    counts = [[together.count(s.before + side + s.after[:1]) for side in s.sides] for s, _ in spans]
    known = [(s, c, n) for (s, c), n in zip(spans, counts, strict=True) if any(n)]
    odds = [math.log((n[0] + _ADDED) / (n[1] + _ADDED)) * (1 if s.is_hers else -1) for s, _, n in known]
    hers, couples = [s.is_hers for s, _, _ in known], [s.pronouns for s, _, _ in known]
    return centred_log_odds(np.array(odds, np.float64), hers, couples, [c for _, c, _ in known])


def amplification(pairs: Sequence[Pair], texts: Sequence[str], model: float) -> dict[str, float]:
    """Returns the text's log-odds and the model's minus these; nothing where the text does not have the pairs' beginnings.

    Args:
      pairs: of pronouns.
      texts: training documents.
      model: the model's centred log-odds of the same pairs.
    """
    data = data_log_odds(pairs, texts)
    return {"data_pronoun_bias": data.mean, "bias_amplification": model - data.mean} if data.count else {}
