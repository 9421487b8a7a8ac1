"""Local differential privacy, for comparison: each client noises its own update, so the server need not be trusted.

Kasiviswanathan, Lee, Nissim, Raskhodnikova, Smith, What Can We Learn Privately?, SIAM J. Computing 2011.
https://arxiv.org/abs/0803.0924

The server sees which clients reply, so sampling does not amplify privacy: a client pays for every round in which it is
sampled. The statement covers the client that was sampled most often. The cohort key determines that number; text does not.
"""

from collections import Counter
from dataclasses import replace

import numpy as np

from fedlm.aggregation.exact import ExactSum
from fedlm.privacy.accounting import Release
from fedlm.privacy.clipping import BoundedUpdate, clip_or_none, contribution
from fedlm.privacy.mechanisms.gaussian import Gaussian
from fedlm.privacy.noise import Source, with_noise
from fedlm.privacy.settings import PrivacySettings, Traits
from fedlm.types import IntSums, Pseudonyms, Weights


class Local(Gaussian):
    """Each node adds the noise; the server adds none and counts how often each client took part."""

    traits = Traits(
        private=True,
        title="the discrete Gaussian mechanism on each client's update",
        neighbours="replacing all text of any one client (whether a client takes part is not hidden)",
        adversary="the server and whoever receives the models",
        assumptions=("the server asks each client once per round and does not modify what nodes send",),
        distance=2.0,  # |clip(u) - clip(u')| <= 2C: a client's two updates may point in opposite directions
        node_noise=True,
    )

    def __init__(self, settings: PrivacySettings, dimension: int) -> None:
        super().__init__(settings, dimension)
        self._participations: Counter[int] = Counter()

    def contribute(self, total: ExactSum, update: Weights | None, weight: int, source: Source) -> bool:
        """Clips, noises and adds the update. A failed client contributes noise around zero."""
        bounded = clip_or_none(update, self.clip_norm)
        usable = bounded is not None
        if bounded is None:
            total.failed += 1
            zeros = tuple(np.zeros(s.shape) for s in total.sums)
            bounded = BoundedUpdate(zeros, self.clip_norm, was_below=True)
        integers = contribution(bounded, weight, self.settings)
        dimension = sum(i.size for i in integers)
        # The node adds noise before anything leaves it, so the guarantee also holds against the server.
        noised = with_noise(integers, self.settings.noise_std(self.clip_norm, dimension), source)
        total.add_integers(noised, weight if usable else 0, below=usable and bounded.was_below, counts=usable)
        return usable

    def event(self, server_round: int, cohort: Pseudonyms) -> Release:
        """Returns the cost of a round: one composition if it raises the largest participation count, otherwise none."""
        # Releases compose per client, so epsilon is that of max_i (rounds in which client i was sampled).
        before = max(self._participations.values(), default=0)
        after = max((self._participations[int(c)] + 1 for c in cohort), default=0)
        more = max(0, after - before)
        base = super().event(server_round, cohort)
        return replace(base, sampling_rate=1.0, compositions=more, distance=self.traits.distance)

    def took_part(self, cohort: Pseudonyms) -> None:
        """Counts a cohort."""
        self._participations.update(map(int, cohort))

    def release(self, event: Release, total: ExactSum, source: Source) -> IntSums:
        """Returns the sum unchanged: every contribution in it is already noised."""
        return total.sums
