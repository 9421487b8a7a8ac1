"""The Gaussian mechanism on integers: a bounded sum plus discrete Gaussian noise."""

import hashlib
import os

from fedlm.aggregation.exact import ExactSum
from fedlm.privacy.accounting import Release
from fedlm.privacy.noise import Source, discrete_gaussian
from fedlm.privacy.settings import PrivacySettings
from fedlm.types import IntSums, Pseudonyms


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
