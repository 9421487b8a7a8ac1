"""The mechanism seam: how clients are sampled, what node and server do to an update and a sum, and what that costs.

sampler        sample(key, round, clients)    the cohort of a round
broadcast      broadcast(), receive()         public numbers that nodes need, for example the clip norm
node stage     contribute(total, ...)         bounds (and, in a local mechanism, noises) one client's update and adds it
reply          reply(total, ...)              what leaves the node: sum and figures, or in a local mechanism the sum alone
accountant     event(round, cohort)           the cost of the release, charged before its noise is generated
server stage   release(event, total, source)  the noised sum
state          state(), restore()             what the next round depends on; all of it has been released already
statement      traits                         neighbours, adversary and assumptions, in words
"""

import math
from collections.abc import Mapping
from typing import ClassVar

from fedlm.aggregation.exact import ExactSum
from fedlm.errors import ConfigError
from fedlm.plugins.options import checked_options
from fedlm.privacy.accounting import Release
from fedlm.privacy.noise import Source
from fedlm.privacy.sampling import poisson_cohort
from fedlm.privacy.settings import PrivacySettings, Traits
from fedlm.types import IntSums, Pseudonyms, TextMetrics, Weights

_ATTEMPT = 2**40  # more than any number of rounds: attempt k of round r is sampled as round r + k * 2**40


class Mechanism:
    """Base class of mechanisms.

    Args:
      settings: the run's privacy settings.
      dimension: the number of coordinates of an update, over all arrays.

    Raises:
      ConfigError: an option is unknown, has the wrong type, or is out of range.
    """

    traits: ClassVar[Traits]
    defaults: ClassVar[dict[str, float | int | str | bool]] = {}

    def __init__(self, settings: PrivacySettings, dimension: int) -> None:
        self.settings, self.dimension, self.clip_norm = settings, dimension, settings.clip_norm
        self.options = checked_options("mechanism", settings.mechanism, dict(self.defaults))

    @property
    def is_plain(self) -> bool:
        """Whether the node stage adds updates unchanged; a chunk may then run in one compiled program."""
        return False

    @property
    def bound(self) -> int:
        """The largest |coordinate| that one client adds to the integer sum in this round, without noise of its node."""
        return math.ceil(self.settings.sensitivity(self.clip_norm, self.dimension))  # bounds the L2 norm

    @property
    def node_std(self) -> int:
        """The standard deviation of the noise that a node adds for each client; 0 if the server adds the noise."""
        noised = self.settings.traits.node_noise
        return self.settings.noise_std(self.clip_norm, self.dimension) if noised else 0

    def sample(self, key: bytes, server_round: int, clients: Pseudonyms, attempt: int) -> Pseudonyms:
        """Returns a cohort in which each client takes part independently with the sampling rate (Poisson sampling).

        Args:
          key: the cohort key.
          server_round: the round, from 1.
          clients: the population, (clients,).
          attempt: 0 at first; each repetition of a charged round samples a new cohort under the next number.
        """
        rate = self.settings.sampling_rate
        if self.settings.simulated:  # expected size = cohort_size
            rate = min(1.0, self.settings.cohort_size / max(len(clients), 1))
        return poisson_cohort(key, server_round + attempt * _ATTEMPT, clients, rate)

    def broadcast(self) -> Mapping[str, float]:
        """Returns the numbers that the server sends to all nodes in the next round. All of them are public."""
        return {"clip-norm": self.clip_norm}

    def receive(self, broadcast: Mapping[str, float]) -> None:
        """Adopts, at a node, the numbers that the server sent.

        Raises:
          ConfigError: a number is missing, or the run's noise and privacy statement do not cover it.
        """
        norm = broadcast.get("clip-norm", 0.0)
        if not (norm > 0 and math.isfinite(norm)):  # NaN compares false
            raise ConfigError("The message has no finite clip norm above 0, so updates would be unbounded.")
        self.settings.check_clip_norm(norm)
        self.clip_norm = norm

    def contribute(self, total: ExactSum, update: Weights | None, weight: int, source: Source) -> bool:
        """The node stage: adds a client's update to a chunk's sum in place.

        Args:
          total: the chunk's sum.
          update: local - global; None if the client failed.
          weight: the client's whole-number weight.
          source: of noise bits, where nodes add noise.

        Returns:
          Whether the update is in the sum.
        """
        raise NotImplementedError

    def reply(self, total: ExactSum, metrics: TextMetrics, clients: int) -> tuple[ExactSum, TextMetrics]:
        """Returns what leaves the node for a chunk.

        Where the node adds the noise, that is the noised sum and nothing else: every figure beside it is determined by
        the request, whether a client was trained, failed or did not open.

        Args:
          total: the chunk's sum.
          metrics: the training figures of its clients.
          clients: the number of clients requested.
        """
        if not self.traits.node_noise:
            return total, metrics
        return ExactSum(total.sums, clients=clients, further=total.further), TextMetrics()

    def event(self, server_round: int, cohort: Pseudonyms) -> Release:
        """Returns what releasing this round will cost; depends only on public values and earlier releases."""
        raise NotImplementedError

    def took_part(self, cohort: Pseudonyms) -> None:
        """Records a cohort whose clients were sent a request, in this process or before a resume."""

    def release(self, event: Release, total: ExactSum, source: Source) -> IntSums:
        """The server stage: returns the noised sum. It is called once per event, after the event was charged."""
        raise NotImplementedError

    def state(self) -> dict[str, float]:
        """Returns what the next round depends on."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Restores what `state` returned."""
