"""What a node adds to its chunk's sum for one client: a clipped, whole-number contribution with a checked norm."""

import numpy as np

from fedlm.errors import FedLMError
from fedlm.privacy.clip import BoundedUpdate, clip, l2_norm
from fedlm.privacy.local import noised_contribution
from fedlm.privacy.noise import Source
from fedlm.privacy.settings import PrivacySettings
from fedlm.sums import SCALE, ExactSum
from fedlm.types import IntSums, Weights


def contribution(update: BoundedUpdate, weight: int, settings: PrivacySettings) -> IntSums:
    """Returns rint(weight * update * 2**24), at most the sensitivity long.

    Args:
      update: clipped.
      weight: the client's whole-number weight, at most `settings.cap`.

    Raises:
      FedLMError: the integer vector is longer than the ledger's bound (a mistake here, not in the data).
    """
    if not 0 <= weight <= settings.cap:
        raise FedLMError(f"A client's weight {weight} is above the cap {settings.cap}.")
    integers = tuple(np.rint(a * (weight * SCALE)).astype(np.int64) for a in update.arrays)
    dimension = sum(i.size for i in integers)
    if l2_norm(integers) > settings.sensitivity(update.max_norm, dimension):
        raise FedLMError("A contribution is longer than its bound.")
    return integers


def contribute(
    total: ExactSum, update: Weights | None, weight: int, settings: PrivacySettings, clip_norm: float, source: Source
) -> bool:
    """Clips a client's update and adds it to the sum in place.

    Args:
      total: the chunk's sum.
      update: local - global; None if the client failed.
      weight: the client's weight.
      settings: of the run.
      clip_norm: the bound of this round.
      source: noise bits, under "local" only.

    Returns:
      False if the client failed or its update is not finite. It then adds nothing; under "local", where the server
      would see that, noise around zero.
    """
    try:
        if update is None:
            raise ValueError("The client failed.")
        bounded, usable = clip(update, clip_norm), True
    except ValueError:
        total.failed += 1
        if settings.mechanism.name != "local":
            return False
        zeros = tuple(np.zeros(s.shape) for s in total.sums)
        bounded, usable = BoundedUpdate(zeros, clip_norm, was_below=True), False
    integers = contribution(bounded, weight, settings)
    if settings.mechanism.name == "local":
        integers = noised_contribution(settings, integers, bounded.max_norm, source)
    total.add_integers(integers, weight if usable else 0, below=usable and bounded.was_below, counts=usable)
    return usable
