"""Exposure of planted secrets: how high the model ranks a secret that it saw among others of its form that it did not see.

Carlini et al. 2019, The Secret Sharer, https://arxiv.org/abs/1802.08232: exposure = log2(candidates) - log2(rank), in bits.
"""

import math
from collections.abc import Callable, Sequence

from fedlm.data.planted import Secret
from fedlm.measure.metric import Better, Measure, Metric, RunEvidence, Scorer

METRICS = (
    Metric("secrets_completed", "planted secrets that rank first", "fraction", Better.LOWER),
    Metric("secrets_exposure", "exposure of planted secrets", "bits", Better.LOWER),
)


def exposure_of(secrets: Callable[[int], Sequence[Secret]]) -> Measure:
    """Returns the measure for a study that plants secrets.

    Args:
      secrets: returns those of a seed.
    """

    def figures(run: RunEvidence) -> dict[str, float]:
        ranks, exposures = [], []
        for secret in secrets(run.seed):
            rank, candidates = rank_of(secret, run.score)
            ranks.append(rank)
            exposures.append(math.log2(candidates) - math.log2(rank))
        return {
            "secrets_completed": sum(r == 1 for r in ranks) / len(ranks),
            "secrets_exposure": sum(exposures) / len(exposures),
        }

    return Measure(METRICS, figures)


def rank_of(secret: Secret, score: Scorer) -> tuple[int, int]:
    """Returns the rank of a secret by loss per token after its prefix, from 1, and the number of candidates."""
    texts = [secret.prefix + value for value in (secret.value, *secret.others)]
    losses = [sums.loss_sum / sums.tokens for sums in score(texts)]
    return 1 + sum(loss < losses[0] for loss in losses[1:]), len(losses)
