"""The clip norm follows a quantile of the clients' update norms, found from noised counts.

Andrew, Thakkar, McMahan, Ramaswamy, Differentially Private Learning with Adaptive Clipping, NeurIPS 2021, algorithm 1.
https://arxiv.org/abs/1905.03871

Each client also reports b_i, whether the norm of its update was at most C. The server counts +1 for yes and -1 for no, which
is the paper's b_i - 1/2 doubled, so that adding a client changes the count by exactly 1. Sum and count come from the same sample
and form one Gaussian mechanism with 1/z^2 = 1/z_sum^2 + 1/z_count^2 (theorem 1). The settings give z; z_sum follows from it.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from fedlm.aggregation.exact import ExactSum
from fedlm.errors import ConfigError, check_number
from fedlm.privacy.accounting import Release
from fedlm.privacy.mechanisms.gaussian import CENTRAL, Gaussian
from fedlm.privacy.noise import Source, discrete_gaussian
from fedlm.privacy.settings import PrivacySettings
from fedlm.types import IntSums, Pseudonyms


class Adaptive(Gaussian):
    """Gaussian noise with a clip norm that follows a quantile of the update norms by geometric updates.

    Options of the spec: `quantile` (0.5), `learning_rate` (0.2, the paper's), `count_noise`: the standard deviation of
    the noise on the count of clients below the norm (default: a twentieth of the expected cohort, the paper's, and at
    least 1.5 z, which costs the sum 6 % more noise).

    Args:
      settings: the run's privacy settings.
      dimension: the number of coordinates of an update.

    Raises:
      ConfigError: an option is out of range, or the noise on the count is too small for the noise multiplier.
    """

    traits = replace(CENTRAL, title=f"{CENTRAL.title} with adaptive clipping (sum and count)", moves_norm=True)
    defaults: ClassVar = {"quantile": 0.5, "learning_rate": 0.2, "count_noise": 0.0}

    def __init__(self, settings: PrivacySettings, dimension: int) -> None:
        super().__init__(settings, dimension)
        self._quantile, self._rate, count_noise = (float(str(v)) for v in self.options.values())
        z = settings.noise_multiplier
        if "count_noise" not in settings.mechanism.options:
            count_noise = max(settings.expected_cohort / 20, 1.5 * z)
        check_number("quantile of adaptive", self._quantile, gt=0, lt=1)
        check_number("learning_rate of adaptive", self._rate, gt=0)
        check_number("count_noise of adaptive", count_noise, gt=0)
        self._count_std = math.ceil(
            2 * count_noise
        )  # of the doubled count, whose sensitivity is 1: also its multiplier
        if self._count_std <= z:
            raise ConfigError(
                f"count_noise={count_noise:g} spends the whole privacy budget on the count: set it above {z / 2:g}."
            )
        # theorem 1, solved for z_sum = (1/z^2 - 1/z_count^2)^(-1/2)
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
        """Returns the noised sum and updates the clip norm from the noised count."""
        sums = super().release(event, total, source)
        count = 2 * total.below - total.clients  # sum over clients of +1 or -1
        if event.count_multiplier:
            scale = self.settings.cohort_size / self.settings.expected_cohort
            count += int(discrete_gaussian(max(1, math.ceil(self._count_std * scale)), 1, source)[0])
        share = 0.5 + count / (2 * self.settings.cohort_size)  # b~, the noised share of updates below C
        # C <- C exp(-eta (b~ - gamma)): a share above the target quantile gamma lowers the norm.
        self.clip_norm *= math.exp(-self._rate * (share - self._quantile))
        return sums

    def state(self) -> dict[str, float]:
        """Returns the clip norm of the next round."""
        return {"clip_norm": self.clip_norm}

    def restore(self, state: Mapping[str, float]) -> None:
        """Restores the clip norm."""
        self.clip_norm = state["clip_norm"]
