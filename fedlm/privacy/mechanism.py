"""A mechanism turns a cohort's exact sum into what may be released, and says what that costs.

One file each: `gaussian` stands here, `adaptive.py` and `local.py` beside it. A mechanism of another kind (a tree of
sums, masked sums) is a further file and a line in `build_mechanism`.
"""

import hashlib
import os
from typing import Protocol

from fedlm.privacy.ledger import Release
from fedlm.privacy.noise import Source, discrete_gaussian
from fedlm.privacy.settings import PrivacySettings
from fedlm.sums import ExactSum
from fedlm.types import IntSums, Pseudonyms


class Mechanism(Protocol):
    """What `server/private.py` asks of a mechanism."""

    clip_norm: float
    """The bound to which nodes clip in the next round."""

    def event(self, server_round: int, cohort: Pseudonyms) -> Release:
        """Returns what releasing this round will cost. Depends on public values and earlier releases only."""
        ...

    def release(self, event: Release, total: ExactSum, source: Source) -> IntSums:
        """Returns the noised sum; called once per event, after it was charged."""
        ...

    def state(self) -> dict[str, float]:
        """Returns what the next round depends on; all of it is released already."""
        ...

    def restore(self, state: dict[str, float]) -> None:
        """Puts back what `state` returned."""
        ...


class Gaussian:
    """A fixed clip norm and discrete Gaussian noise on the sum.

    Args:
      settings: of the run.
      dimension: coordinates of an update, all arrays together.
    """

    def __init__(self, settings: PrivacySettings, dimension: int) -> None:
        self.settings, self.dimension, self.clip_norm = settings, dimension, settings.clip_norm

    def event(self, server_round: int, cohort: Pseudonyms) -> Release:
        """Returns the cost of a round."""
        s = self.settings
        return Release(
            round=server_round,
            mechanism=s.mechanism.name,
            sampling_rate=s.sampling_rate,
            noise_multiplier=s.noise_multiplier,
            clip_norm=self.clip_norm,
            cap=s.cap,
            clients=s.expected_cohort,
            noise_std=s.noise_std(self.clip_norm, self.dimension),
        )

    def release(self, event: Release, total: ExactSum, source: Source) -> IntSums:
        """Returns the sum with noise of `event.noise_std` on every coordinate."""
        return with_noise(total.sums, event.noise_std, source)

    def state(self) -> dict[str, float]:
        """Nothing changes."""
        return {}

    def restore(self, state: dict[str, float]) -> None:
        """Nothing to put back."""


def with_noise(sums: IntSums, std: int, source: Source) -> IntSums:
    """Returns integer arrays with independent discrete Gaussian noise added; `std` 0 adds none."""
    if std == 0:
        return sums
    noise, place, out = discrete_gaussian(std, sum(s.size for s in sums), source), 0, []
    for s in sums:
        out.append(s + noise[place : place + s.size].reshape(s.shape))
        place += s.size
    return tuple(out)


def noise_source(settings: PrivacySettings, *seed: int) -> Source:
    """Returns where noise bits come from: the operating system, or in a run marked reproducible the seed."""
    if not settings.reproducible:
        return os.urandom
    start = b"fedlm noise " + b",".join(str(s).encode() for s in seed)
    return lambda count: hashlib.shake_256(start).digest(count)


def build_mechanism(settings: PrivacySettings, dimension: int) -> Mechanism:
    """Returns the mechanism of the settings, which must be `on`."""
    from fedlm.privacy.adaptive import Adaptive
    from fedlm.privacy.local import Local

    kinds = {"gaussian": Gaussian, "adaptive": Adaptive, "local": Local}
    return kinds[settings.mechanism.name](settings, dimension)
