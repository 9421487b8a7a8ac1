"""How the loss is spread over clients: best-served and worst-served tenth, deviation, inequality."""

import math

import numpy as np

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
)
_LARGEST_EXPONENT = 1023  # 2.0**1024 overflows a float64


def figures(run: RunEvidence) -> dict[str, float]:
    """Returns the spread of the clients' held-out bits per character."""
    bits = run.bits
    best, worst = tenths(bits)
    return {
        "best_tenth": best,
        "worst_tenth": worst,
        "worst_tenth_perplexity": 2.0 ** min(worst, _LARGEST_EXPONENT),
        "client_mean": float(bits.mean()) if len(bits) else math.nan,
        "client_median": float(np.median(bits)) if len(bits) else math.nan,
        "client_deviation": standard_deviation(bits),
        "client_gini": gini(bits),
        "client_jain": jain(bits),
    }


def gini(values: Values) -> float:
    """Returns the Gini coefficient of non-negative values: 0 if all are equal, towards 1 if one has all.

    Mean absolute difference over twice the mean (Gini 1912). With x sorted and ranks i from 1 this is
    2 sum(i x_i) / (n sum(x)) - (n + 1) / n. NaN for no values, 0 if all are zero.

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
