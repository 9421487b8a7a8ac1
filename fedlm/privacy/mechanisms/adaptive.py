"""The clip norm follows a quantile of the clients' update norms, found from noised counts.

Andrew, Thakkar, McMahan, Ramaswamy, Differentially Private Learning with Adaptive Clipping, NeurIPS 2021, algorithm 1.
https://arxiv.org/abs/1905.03871

Each client also tells whether its update kept the norm. The count is on the integers: +1 if it did, -1 if it did not, so
a client moves it by 1 whatever it says (the paper's b - 1/2, doubled). Sum and count come from one sample and are one
Gaussian mechanism: 1/z^2 = 1/z_sum^2 + 1/z_count^2 (theorem 1), from which z_sum follows for the z that was asked for.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from fedlm.aggregation.exact import ExactSum
from fedlm.errors import ConfigError
from fedlm.privacy.accounting import Release
from fedlm.privacy.mechanisms.gaussian import CENTRAL, Gaussian
from fedlm.privacy.noise import Source, discrete_gaussian
from fedlm.privacy.settings import PrivacySettings
from fedlm.types import IntSums, Pseudonyms


class Adaptive(Gaussian):
    """Gaussian noise with a clip norm that moves geometrically towards a quantile.

    Options of the spec: `quantile` (0.5), `learning_rate` (0.2, the paper's), `count_noise`: the standard deviation of
    the noise on the count of clients below the norm (default: a twentieth of the expected cohort, the paper's, and at
    least 1.5 z, which costs the sum 6 % more noise).

    Args:
      settings: of the run.
      dimension: coordinates of an update.

    Raises:
      ConfigError: an option is out of range, or the count leaves nothing for the sum.
    """

    traits = replace(CENTRAL, title=f"{CENTRAL.title} with adaptive clipping (sum and count)", moves_norm=True)
    defaults: ClassVar = {"quantile": 0.5, "learning_rate": 0.2, "count_noise": 0.0}

    def __init__(self, settings: PrivacySettings, dimension: int) -> None:
        super().__init__(settings, dimension)
        self._quantile, self._rate, count_noise = (float(str(v)) for v in self.options.values())
        z = settings.noise_multiplier
        if "count_noise" not in settings.mechanism.options:
            count_noise = max(settings.expected_cohort / 20, 1.5 * z)
        if not (0 < self._quantile < 1 and self._rate > 0 and count_noise > 0):
            raise ConfigError("adaptive(...) needs 0 < quantile < 1, learning_rate > 0 and count_noise > 0.")
        self._count_std = math.ceil(2 * count_noise)  # of the doubled count, whose sensitivity is 1
        if self._count_std <= z:
            raise ConfigError(f"count_noise {count_noise:g} leaves nothing for the sum: it must be above {z / 2:g}.")
        self._z_sum = 1 / math.sqrt(1 / z**2 - 1 / self._count_std**2) if z else 0.0

    def event(self, server_round: int, cohort: Pseudonyms) -> Release:
        """Returns the cost of a round: the sum's share and the count's."""
        part = replace(self.settings, noise_multiplier=self._z_sum)
        return replace(
            super().event(server_round, cohort),
            noise_multiplier=self._z_sum,
            noise_std=part.noise_std(self.clip_norm, self.dimension),
            count_multiplier=float(self._count_std) if self._z_sum else 0.0,
        )

    def release(self, event: Release, total: ExactSum, source: Source) -> IntSums:
        """Returns the noised sum and moves the clip norm by the noised count."""
        sums = super().release(event, total, source)
        count = 2 * total.below - total.clients
        if event.count_multiplier:
            scale = self.settings.cohort_size / self.settings.expected_cohort
            count += int(discrete_gaussian(max(1, math.ceil(self._count_std * scale)), 1, source)[0])
        share = 0.5 + count / (2 * self.settings.cohort_size)
        self.clip_norm *= math.exp(-self._rate * (share - self._quantile))
        return sums

    def state(self) -> dict[str, float]:
        """Returns the clip norm of the next round."""
        return {"clip_norm": self.clip_norm}

    def restore(self, state: Mapping[str, float]) -> None:
        """Puts the clip norm back."""
        self.clip_norm = state["clip_norm"]
