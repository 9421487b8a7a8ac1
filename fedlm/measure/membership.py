"""A privacy audit of the final model: guess from its losses which canaries took part, and refute an epsilon from below.

Steinke, Nasr, Jagielski 2023, https://arxiv.org/abs/2305.08846; the bound is `fedlm.privacy.audit.lower_bound`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from fedlm.measure.metric import Measure, Metric, RunEvidence
from fedlm.privacy.audit import guess, lower_bound

METRICS = (
    Metric("audited_epsilon", "lower bound of epsilon from the audit (95 % confidence)"),
    Metric("right_guesses", "canaries whose membership was guessed right", "fraction of the guesses", chance=0.5),
)


def membership_of(
    canaries: Sequence[str], coins: Callable[[int], npt.NDArray[np.bool_]], *, share: float, delta: float
) -> Measure:
    """Returns the measure for a study whose canaries take part by fair coins.

    Args:
      canaries: a text of each.
      coins: returns which canaries took part under a seed, (canaries,).
      share: of the coins that are guessed, from both ends of the ranking by loss.
      delta: at which epsilon is bounded.
    """

    def figures(run: RunEvidence) -> dict[str, float]:
        losses = np.array([sums.loss_sum for sums in run.score(canaries)])
        found = guess(coins(run.seed), -losses, share)  # the lower the loss, the likelier a member
        return {"audited_epsilon": lower_bound(found, delta), "right_guesses": found.correct / found.made}

    return Measure(METRICS, figures)
