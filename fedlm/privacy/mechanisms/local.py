"""Local differential privacy, for comparison: each client noises its own update, so the server need not be trusted.

Kasiviswanathan, Lee, Nissim, Raskhodnikova, Smith, What Can We Learn Privately?, SIAM J. Computing 2011.
https://arxiv.org/abs/0803.0924

The server sees who answers, so sampling amplifies nothing: a client pays for each round that it is drawn in, and the
statement is about the client that was drawn most often, which is known from the cohort key and no text.
"""

from collections import Counter
from dataclasses import replace

from fedlm.aggregation.exact import ExactSum
from fedlm.privacy.accounting import Release
from fedlm.privacy.mechanisms.gaussian import Gaussian, with_noise
from fedlm.privacy.noise import Source
from fedlm.privacy.settings import PrivacySettings
from fedlm.types import IntSums, Pseudonyms


class Local(Gaussian):
    """Nodes add the noise (`noised_contribution`); the server adds none and counts who took part how often."""

    def __init__(self, settings: PrivacySettings, dimension: int) -> None:
        super().__init__(settings, dimension)
        self._drawn: Counter[int] = Counter()

    def event(self, server_round: int, cohort: Pseudonyms) -> Release:
        """Returns the cost of a round: one composition if it raises how often the worst-off client took part."""
        before = max(self._drawn.values(), default=0)
        after = max((self._drawn[int(c)] + 1 for c in cohort), default=0)
        return replace(super().event(server_round, cohort), sampling_rate=1.0, compositions=max(0, after - before))

    def took_part(self, cohort: Pseudonyms) -> None:
        """Counts a cohort that was asked, in this process or before a resume."""
        self._drawn.update(map(int, cohort))

    def release(self, event: Release, total: ExactSum, source: Source) -> IntSums:
        """Returns the sum as it is: every contribution in it carries its noise."""
        return total.sums


def noised_contribution(settings: PrivacySettings, contribution: IntSums, clip_norm: float, source: Source) -> IntSums:
    """Returns a client's contribution, clipped to `clip_norm`, with its own noise, as its node sends it."""
    dimension = sum(c.size for c in contribution)
    return with_noise(contribution, settings.noise_std(clip_norm, dimension), source)
