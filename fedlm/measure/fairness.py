"""How figures spread over clients: who is served well, who is not."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


def gini(values: Values) -> float:
    """Returns the Gini coefficient of non-negative values: 0 all equal, towards 1 one has all; NaN for none, 0 for all zero.

    Mean absolute difference over twice the mean (Gini 1912), computed from the sorted values.

    >>> gini(np.array([0.0, 0.0, 0.0, 1.0]))
    0.75
    """
    n, total = len(values), float(np.sum(values))
    if n == 0:
        return math.nan
    if total == 0:
        return 0.0
    ranks = np.arange(1, n + 1)
    return float(2 * np.sum(ranks * np.sort(values)) / (n * total) - (n + 1) / n)


def jain(values: Values) -> float:
    """Returns Jain's index (sum x)^2 / (n sum x^2): 1 all equal, 1/n one has all (Jain, Chiu, Hawe 1984); NaN for none.

    >>> jain(np.array([1.0, 1.0])), jain(np.array([1.0, 0.0]))
    (1.0, 0.5)
    """
    squares = float(np.sum(values**2))
    if len(values) == 0:
        return math.nan
    return 1.0 if squares == 0 else float(np.sum(values)) ** 2 / (len(values) * squares)


def tenths(values: Values) -> tuple[float, float]:
    """Returns the mean of the lowest and of the highest tenth of the values, at least one value each; NaN for none."""
    if len(values) == 0:
        return math.nan, math.nan
    count = max(1, len(values) // 10)
    ordered = np.sort(values)
    return float(ordered[:count].mean()), float(ordered[-count:].mean())


def effective_number(values: Values) -> float:
    """Returns (sum x)^2 / sum x^2: how many equal holders would be as concentrated (the inverse Simpson index; Hill 1973).

    >>> effective_number(np.array([5.0, 5.0, 0.0]))
    2.0
    """
    return jain(values) * len(values) if len(values) else math.nan


def standard_deviation(values: Values) -> float:
    """Returns the standard deviation over clients, with n - 1; NaN for fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def share_worse_than_local(shared: Values, alone: Values) -> float:
    """Returns the share of clients whose loss under the global model is higher than under a model of their own text only.

    Args:
      shared: loss per token of each client under the global model (clients,).
      alone: the same clients' loss under the model trained on nothing but their own text (clients,).
    """
    if len(shared) != len(alone):
        raise ValueError(f"Expected as many figures, got {len(shared)=} and {len(alone)=}.")
    return float(np.mean(shared > alone)) if len(shared) else math.nan


def group_losses(loss_sums: Values, tokens: Values, groups: Sequence[str]) -> dict[str, float]:
    """Returns each group's loss per token: sums over its clients first, the ratio last.

    Args:
      loss_sums, tokens: of each client (clients,).
      groups: the clients' groups.

    Raises:
      ValueError: a group has one client; its figure would be that client's.
    """
    names = np.array(groups)
    for name in sorted(set(groups)):
        if np.sum(names == name) < 2:
            raise ValueError(f"the group {name!r} has one client only; a group's figure needs two or more")
    pairs = ((name, names == name) for name in sorted(set(groups)))
    return {name: float(loss_sums[of].sum() / max(tokens[of].sum(), 1)) for name, of in pairs}


def group_gap(losses: Mapping[str, float]) -> tuple[float, str]:
    """Returns the worst group's loss minus the best one's, and the worst group's name; NaN for none.

    >>> group_gap({"a": 1.5, "b": 2.0})
    (0.5, 'b')
    """
    if not losses:
        return math.nan, ""
    worst = max(losses, key=lambda name: losses[name])
    return losses[worst] - min(losses.values()), worst
