"""DP-FedAvg: clipped updates of a Poisson-sampled cohort, and discrete Gaussian noise on their integer sum.

McMahan, Ramage, Talwar, Zhang, Learning Differentially Private Recurrent Language Models, ICLR 2018, algorithm 1.
https://arxiv.org/abs/1710.06963. The noise is that of Canonne, Kamath, Steinke 2020 (`fedlm/privacy/noise.py`).

With clip norm C, weights at most the cap W, d coordinates and noise multiplier z, the integer sum of

    rint(w_i 2^24 clip(u_i, C))

changes by at most S = W C 2^24 + sqrt(d) / 2 in L2 when one client is added or removed. The second term bounds the rounding:
1/2 per coordinate. Every coordinate gets noise of standard deviation ceil(z S).
"""

from fedlm.aggregation.exact import ExactSum
from fedlm.privacy.accounting import Release
from fedlm.privacy.clipping import clip_or_none, contribution
from fedlm.privacy.mechanisms.base import Mechanism
from fedlm.privacy.noise import Source, with_noise
from fedlm.privacy.settings import Traits
from fedlm.types import IntSums, Pseudonyms, Weights

CENTRAL = Traits(
    private=True,
    title="the Poisson-sampled discrete Gaussian mechanism",
    neighbours="adding or removing any one client with all its text",
    adversary="whoever receives the models of all rounds (not the server, which sees the sums and knows the cohorts)",
    assumptions=("the cohort key stays with the server; clients are sampled independently with the sampling rate",),
    counts_population=True,
)
"""What all mechanisms with noise at the server share."""


class Gaussian(Mechanism):
    """A fixed clip norm and discrete Gaussian noise on the sum."""

    traits = CENTRAL

    def contribute(self, total: ExactSum, update: Weights | None, weight: int, source: Source) -> bool:
        """Clips the update and adds it. A client that failed, or whose update is not finite, adds nothing."""
        bounded = clip_or_none(update, self.clip_norm)
        if bounded is None:
            total.failed += 1
            return False  # adding nothing keeps the sensitivity at S
        integers = contribution(bounded, weight, self.settings)
        total.add_integers(integers, weight, below=bounded.was_below)
        return True

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
