"""Distributions of a metric over clients, all seeds together."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedlm.report.paper.points import Point


def distributions(clients: Sequence[Mapping[str, Any]], metric: str) -> list[Point]:
    """Returns median, quartiles and the 5th to 95th percentile over clients for each case.

    Args:
      clients: a row for each client with condition, algorithm, metric and value; values that are not finite are left out.
      metric: which one.
    """
    values: dict[tuple[str, str], list[float]] = {}
    for row in clients:
        if row["metric"] == metric and row["value"] is not None and math.isfinite(row["value"]):
            values.setdefault((row["condition"], row["algorithm"]), []).append(row["value"])
    return [_point(case, own) for case, own in values.items()]


def _point(case: tuple[str, str], values: Sequence[float]) -> Point:
    low, first, median, third, high = (float(v) for v in np.percentile(values, [5, 25, 50, 75, 95]))
    return Point(*case, None, median, low, high, len(values), inner=(first, third))
