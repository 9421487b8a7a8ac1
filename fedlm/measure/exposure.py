"""Exposure of planted secrets: how high the model ranks a secret that it saw among others of its form that it did not see.

Carlini et al. 2019, The Secret Sharer, https://arxiv.org/abs/1802.08232: exposure = log2(candidates) - log2(rank), in bits.
"""

import math
from collections.abc import Callable, Sequence

from fedlm.data.planted import Secret
from fedlm.measure.metric import Better, Measure, Metric, RunEvidence, Scorer

METRICS = (
    Metric(
        "secrets_completed", "planted secrets that rank first", "fraction", Better.LOWER, reference="chance_completed"
    ),
    Metric("secrets_exposure", "exposure of planted secrets", "bits", Better.LOWER, reference="chance_exposure"),
    Metric("chance_completed", "secrets that rank first under a model that ranks by chance", "fraction"),
    Metric("chance_exposure", "exposure of secrets under a model that ranks by chance", "bits"),
)


def exposure_of(secrets: Callable[[int], Sequence[Secret]]) -> Measure:
    """Returns the measure for a study that plants secrets.

    Args:
      secrets: returns those of a seed.
    """

    def figures(run: RunEvidence) -> dict[str, float]:
        ranks, exposures, counts = [], [], []
        for secret in secrets(run.seed):
            rank, candidates = rank_of(secret, run.score)
            ranks.append(rank)
            counts.append(candidates)
            exposures.append(math.log2(candidates) - math.log2(rank))
        return {
            "secrets_completed": sum(r == 1 for r in ranks) / len(ranks),
            "secrets_exposure": sum(exposures) / len(exposures),
            "chance_completed": sum(1 / count for count in counts) / len(counts),
            "chance_exposure": sum(map(exposure_by_chance, counts)) / len(counts),
        }

    return Measure(METRICS, figures)


def exposure_by_chance(candidates: int) -> float:
    """Returns the mean exposure in bits if every rank is as likely: log2(N) - log2(N!) / N, near log2(e) = 1.44 for many.

    >>> round(exposure_by_chance(2), 2), round(exposure_by_chance(10**6), 2)
    (0.5, 1.44)
    """
    return math.log2(candidates) - math.lgamma(candidates + 1) / math.log(2) / candidates


def rank_of(secret: Secret, score: Scorer) -> tuple[int, int]:
    """Returns the rank of a secret by loss per token after its prefix, from 1, and the number of candidates."""
    texts = [secret.prefix + value for value in (secret.value, *secret.others)]
    losses = [sums.loss_sum / sums.tokens for sums in score(texts)]
    return 1 + sum(loss < losses[0] for loss in losses[1:]), len(losses)
