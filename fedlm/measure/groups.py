"""Loss by group of clients: each group's figure, and the signed gap between the minority and the others.

A difference of gaps between two conditions is a difference in differences: what a condition costs the minority beyond what it
costs the others. Groups whose text is not equally hard are compared by their excess over their own ceiling
(`centralised.py`).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fedlm.measure.metric import Better, Metric, RunEvidence, Values

_BITS = "bits per character"
METRICS = (
    Metric("minority_gap", "loss of the minority minus loss of the others", _BITS),
    Metric(
        "group_gap", "loss gap between the worst and the best group", _BITS, Better.LOWER, replaced_by="minority_gap"
    ),
    Metric("worst_group", "loss of the worst group", _BITS, Better.LOWER),
    Metric("minority", "loss of the minority", _BITS, Better.LOWER),
    Metric("others", "loss of the clients outside the minority", _BITS, Better.LOWER),
    Metric("group:", "loss of group {}", _BITS, Better.LOWER),
)


def figures(run: RunEvidence) -> dict[str, float]:
    """Returns the figures of a run whose clients have groups; nothing for another."""
    if not run.minority:
        return {}
    losses = group_losses(run.loss_bits, run.characters, run.groups)
    gap, worst = group_gap(losses)
    own = losses.get(run.minority, math.nan)
    rest = _loss(run.loss_bits, run.characters, ~run.in_minority)
    found = {
        "group_gap": gap,
        "worst_group": losses[worst],
        "minority": own,
        "others": rest,
        "minority_gap": own - rest,
    }
    return found | {f"group:{name}": loss for name, loss in losses.items()}


def group_losses(loss_sums: Values, tokens: Values, groups: Sequence[str]) -> dict[str, float]:
    """Returns each group's loss per token: sums over its clients first, the ratio last.

    Args:
      loss_sums, tokens: of each client, (clients,).
      groups: of the clients.

    Raises:
      ValueError: a group has one client; its figure would be that client's.
    """
    names = np.array(groups)
    for name in sorted(set(groups)):
        if np.sum(names == name) < 2:
            raise ValueError(f"the group {name!r} has one client only; a group's figure needs two or more")
    return {name: _loss(loss_sums, tokens, names == name) for name in sorted(set(groups))}


def _loss(loss_sums: Values, tokens: Values, of: npt.NDArray[np.bool_]) -> float:
    return float(loss_sums[of].sum() / max(tokens[of].sum(), 1)) if of.any() else math.nan


def group_gap(losses: Mapping[str, float]) -> tuple[float, str]:
    """Returns the worst group's loss minus the best one's, and the worst group's name; NaN for no group.

    >>> group_gap({"a": 1.5, "b": 2.0})
    (0.5, 'b')
    """
    if not losses:
        return math.nan, ""
    worst = max(losses, key=lambda name: losses[name])
    return losses[worst] - min(losses.values()), worst


def minority_groups(figures: Mapping[str, float]) -> set[str]:
    """Returns the groups whose loss is that of the minority; none without a minority."""
    groups = {name.removeprefix("group:"): value for name, value in figures.items() if name.startswith("group:")}
    return {name for name, value in groups.items() if value == figures.get("minority")}
