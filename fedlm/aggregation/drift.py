"""Client drift: how much the updates of a cohort differ in direction, computed from sums only.

With updates u_i, their weighted mean m and n clients, the mean cosine of an update to the mean is

    1/n sum_i cos(u_i, m) = (sum_i u_i / |u_i|) . m / (n |m|),

so the sum of the unit updates is sufficient, and no single update leaves its node.
"""

import math

import numpy as np

from fedlm.aggregation.exact import SCALE, ExactSum, NamedSum, on_lattice
from fedlm.types import Weights

NAME = "drift"


def direction(update: Weights) -> NamedSum:
    """Returns a client's unit update u / |u| on the lattice, with its norm; a zero update counts as no client."""
    norm = math.sqrt(sum(float(np.sum(np.square(u, dtype=np.float64))) for u in update))
    if not (norm > 0 and math.isfinite(norm)):
        return NamedSum(tuple(np.zeros(u.shape, np.int64) for u in update), {"norms": 0, "clients": 0})
    return NamedSum(on_lattice(update, SCALE / norm), {"norms": round(norm * SCALE), "clients": 1})


def is_possible(total: ExactSum) -> bool:
    """Returns whether a chunk's sum can be a sum of rounded unit vectors, whose coordinates are at most 1."""
    found = total.further[NAME]
    if not found.numbers:  # no client of the chunk was trained
        return found.fits(0)
    if set(found.numbers) != {"norms", "clients"}:
        return False
    clients = found.numbers["clients"]
    return 0 <= clients <= total.clients and found.numbers["norms"] >= 0 and found.fits(int(SCALE * clients + clients))


def summary(total: ExactSum) -> dict[str, float]:
    """Returns the updates' mean norm, the norm of their mean, and their mean cosine to the mean (1: all parallel).

    The cosine is omitted if the mean is zero.
    """
    found = total.further[NAME]
    mean = [s.astype(np.float64) / SCALE / max(total.weight, 1) for s in total.sums]  # m, in the weights' shapes
    length = math.sqrt(sum(float(np.sum(m * m)) for m in mean))
    along = sum(float(np.sum(u * m)) for u, m in zip(found.vectors, mean, strict=True)) / SCALE
    clients = found.numbers.get("clients", 0)
    figures = {"norm": found.numbers.get("norms", 0) / SCALE / max(clients, 1), "mean_norm": length}
    return figures | ({"cosine": along / (clients * length)} if clients and length else {})
