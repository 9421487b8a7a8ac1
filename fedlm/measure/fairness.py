"""How the loss is spread over clients: best-served and worst-served tenth, deviation, inequality.

In a study it is the loss over the same amount of test text of each client: short texts vary more, so unequal sizes would make a
spread of their own. Clients with less text are counted and left out.

Every figure is a function of the last axis, so that resampled clients (resamples, clients) are one call.
"""

import math
from collections.abc import Mapping

import numpy as np

from fedlm.measure.bootstrap import Statistic
from fedlm.measure.metric import Better, Metric, RunEvidence, Values

_BITS = "bits per character"
METRICS = (
    Metric("best_tenth", "loss of the best-served tenth of clients", _BITS, Better.LOWER),
    Metric("worst_tenth", "loss of the worst-served tenth of clients", _BITS, Better.LOWER),
    Metric("worst_tenth_perplexity", "perplexity of the worst-served tenth of clients", "per character", Better.LOWER),
    Metric("client_mean", "loss, mean over clients", _BITS, Better.LOWER),
    Metric("client_median", "loss, median over clients", _BITS, Better.LOWER),
    Metric("client_deviation", "standard deviation of the loss over clients", _BITS, Better.LOWER),
    Metric("client_gini", "Gini coefficient of the loss over clients", "", Better.LOWER),
    Metric("client_jain", "Jain's index of the loss over clients", "", Better.HIGHER),
    Metric("clients_excluded", "clients with too little test text for figures over clients"),
    Metric("equal_bits_per_char", "held-out loss on equal test sizes", _BITS, Better.LOWER, optional=True),
)
CLIENT_COLUMN = "equal_bits_per_char"  # of a client's row, of which these figures are made
_LARGEST_EXPONENT = 1023  # 2.0**1024 overflows a float64


def figures(run: RunEvidence) -> dict[str, float]:
    """Returns the spread of the clients' held-out bits per character; NaN for no clients.

    A run outside a study has no equal amounts: its spread is that of all held-out text.
    """
    known = np.isfinite(run.equal_bits) if run.has_equal else np.ones(len(run.clients), np.bool_)
    bits = (run.equal_bits if run.has_equal else run.bits)[known]
    spread = {name: float(figure(bits)) if len(bits) else math.nan for name, figure in OVER_CLIENTS.items()}
    return spread | {"clients_excluded": float(np.sum(~known))}


def gini(values: Values) -> float:
    """Returns the Gini coefficient of non-negative values: 0 if all are equal, towards 1 if one has all.

    Mean absolute difference over twice the mean (Gini 1912). With x sorted and ranks i from 1 this is
    2 sum(i x_i) / (n sum(x)) - (n + 1) / n. NaN for no values, 0 if all are zero.

    >>> gini(np.array([0.0, 0.0, 0.0, 1.0]))
    0.75
    """
    return float(_ginis(values)) if len(values) else math.nan


def _ginis(values: Values) -> Values:
    n, total = values.shape[-1], values.sum(axis=-1)
    weighted = np.sum(np.arange(1, n + 1) * np.sort(values, axis=-1), axis=-1)
    found: Values = np.where(total == 0, 0.0, 2 * weighted / (n * np.where(total == 0, 1, total)) - (n + 1) / n)
    return found


def jain(values: Values) -> float:
    """Returns Jain's index (sum x)^2 / (n sum x^2): 1 if all are equal, 1/n if one has all (Jain, Chiu, Hawe 1984).

    NaN for no values, 1 if all are zero.

    >>> jain(np.array([1.0, 1.0])), jain(np.array([1.0, 0.0]))
    (1.0, 0.5)
    """
    return float(_jains(values)) if len(values) else math.nan


def _jains(values: Values) -> Values:
    squares = np.sum(values**2, axis=-1)
    shares: Values = values.sum(axis=-1) ** 2 / (values.shape[-1] * np.where(squares == 0, 1, squares))
    return np.where(squares == 0, 1.0, shares)


def tenths(values: Values) -> tuple[float, float]:
    """Returns the mean of the lowest and of the highest tenth of the values, at least one value each; NaN for none."""
    return (float(_best(values)), float(_worst(values))) if len(values) else (math.nan, math.nan)


def _best(values: Values) -> Values:
    found: Values = np.sort(values, axis=-1)[..., : _tenth(values)].mean(axis=-1)
    return found


def _worst(values: Values) -> Values:
    found: Values = np.sort(values, axis=-1)[..., -_tenth(values) :].mean(axis=-1)
    return found


def _tenth(values: Values) -> int:
    return max(1, int(values.shape[-1]) // 10)


def _worst_perplexity(values: Values) -> Values:
    found: Values = 2.0 ** np.minimum(_worst(values), _LARGEST_EXPONENT)
    return found


def effective_number(values: Values) -> float:
    """Returns (sum x)^2 / sum x^2: how many equal holders would be as concentrated (the inverse Simpson index; Hill 1973).

    >>> effective_number(np.array([5.0, 5.0, 0.0]))
    2.0
    """
    return jain(values) * len(values) if len(values) else math.nan


def standard_deviation(values: Values) -> float:
    """Returns the standard deviation over clients, with n - 1; NaN for fewer than two."""
    return float(_deviations(values))


def _deviations(values: Values) -> Values:
    found: Values = np.std(values, ddof=1, axis=-1) if values.shape[-1] > 1 else np.full(values.shape[:-1], math.nan)
    return found


OVER_CLIENTS: Mapping[str, Statistic] = {
    "best_tenth": _best,
    "worst_tenth": _worst,
    "worst_tenth_perplexity": _worst_perplexity,
    "client_mean": lambda values: np.mean(values, axis=-1),
    "client_median": lambda values: np.median(values, axis=-1),
    "client_deviation": _deviations,
    "client_gini": _ginis,
    "client_jain": _jains,
}
"""The figures by metric, each (..., clients) -> (...)."""
