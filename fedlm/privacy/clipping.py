"""Clipping of whole updates, the bound that every guarantee rests on.

McMahan, Ramage, Talwar, Zhang, Learning Differentially Private Recurrent Language Models, ICLR 2018 ("flat clipping").
https://arxiv.org/abs/1710.06963
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedlm.aggregation.exact import SCALE
from fedlm.errors import FedLMError
from fedlm.privacy.settings import PrivacySettings
from fedlm.types import IntSums, Weights

_MARGIN = 1e-9  # exceeds the float64 error of a sum of 1e7 squares, so a clipped norm never exceeds the bound


@dataclass(frozen=True)
class BoundedUpdate:
    """An update whose L2 norm is known to be at most `max_norm`.

    Attributes:
      arrays: float64, shapes of the weights.
      max_norm: the bound, in the unit of the weights.
      was_below: whether the norm was at most `max_norm` before clipping.
    """

    arrays: tuple[npt.NDArray[np.float64], ...]
    max_norm: float
    was_below: bool


def l2_norm(arrays: Iterable[npt.NDArray[Any]]) -> float:
    """Returns the L2 norm over all arrays together, in float64 (float32 squares overflow); NaN if any value is.

    >>> l2_norm((np.array([3.0], np.float32), np.array(4.0, np.float32)))
    5.0
    """
    flat = [np.asarray(a, np.float64).ravel() for a in arrays]
    return math.sqrt(sum(float(f @ f) for f in flat))


def clip(update: Weights, max_norm: float) -> BoundedUpdate:
    """Scales an update so that its L2 norm over all arrays together is at most `max_norm`.

    Args:
      update: local - global, any shapes, 0-d included. Not modified.
      max_norm: the bound, same unit as the weights; > 0 and finite.

    Raises:
      ValueError: `max_norm` is not positive and finite, or the update holds NaN or infinity (scaling could not bound it).

    >>> clip((np.array([3.0], np.float32), np.array(4.0, np.float32)), 2.5).arrays[0].round(6)
    array([1.5])
    """
    if not (max_norm > 0 and math.isfinite(max_norm)):
        raise ValueError(f"Expected a finite {max_norm=} > 0.")
    norm = l2_norm(update)
    if not math.isfinite(norm):
        raise ValueError(f"The update has norm {norm}; it cannot be bounded.")
    below = norm <= max_norm * (1 - _MARGIN)
    # u * min(1, C / |u|), with C lowered by the margin
    scale = 1.0 if below else max_norm * (1 - _MARGIN) / norm
    return BoundedUpdate(tuple(np.asarray(a, np.float64) * scale for a in update), max_norm, below)


def clip_or_none(update: Weights | None, max_norm: float) -> BoundedUpdate | None:
    """Returns a client's clipped update; None without an update, or if it holds NaN or infinity."""
    if update is None or not math.isfinite(l2_norm(update)):
        return None
    return clip(update, max_norm)


def contribution(update: BoundedUpdate, weight: int, settings: PrivacySettings) -> IntSums:
    """Returns rint(weight * update * 2**24), whose L2 norm is at most the sensitivity.

    Args:
      update: clipped.
      weight: the client's whole-number weight, at most `settings.cap`.

    Raises:
      FedLMError: the norm exceeds the bound in the ledger, which means a bug here, not bad data.
    """
    if not 0 <= weight <= settings.cap:
        raise FedLMError(f"A client's weight {weight} is above the cap {settings.cap}.")
    integers = tuple(np.rint(a * (weight * SCALE)).astype(np.int64) for a in update.arrays)
    dimension = sum(i.size for i in integers)
    if l2_norm(integers) > settings.sensitivity(update.max_norm, dimension):
        raise FedLMError("The norm of a contribution exceeds its bound.")
    return integers
