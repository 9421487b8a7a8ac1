"""The mechanism seam: who is drawn, what a node does to an update, what the server does to the sum, and what it costs.

sampler        draw(key, round, clients)      the cohort of a round
told to nodes  told()                         public numbers that nodes need, e.g. the clip norm
node stage     contribute(total, ...)         bounds (and perhaps noises) one client's update and adds it
accountant     event(round, cohort)           the cost of the release, charged before its noise is drawn
server stage   release(event, total, source)  the noised sum
state          state(), restore()             what the next round depends on; all of it is released already
statement      traits                         neighbours, adversary and assumptions, in words
"""

import math
from collections.abc import Mapping
from typing import ClassVar

from fedlm.aggregation.exact import ExactSum
from fedlm.errors import ConfigError
from fedlm.plugins import checked_options
from fedlm.privacy.accounting import Release
from fedlm.privacy.noise import Source
from fedlm.privacy.sampling import poisson_cohort
from fedlm.privacy.settings import PrivacySettings, Traits
from fedlm.types import IntSums, Pseudonyms, Weights

_ATTEMPT = 2**40  # rounds are fewer; the score of a round's second cohort is that of a round beyond all rounds


class Mechanism:
    """Base class of mechanisms.

    Args:
      settings: of the run.
      dimension: coordinates of an update, all arrays together.

    Raises:
      ConfigError: an option is unknown, of a wrong type or out of range.
    """

    traits: ClassVar[Traits]
    defaults: ClassVar[dict[str, float | int | str | bool]] = {}

    def __init__(self, settings: PrivacySettings, dimension: int) -> None:
        self.settings, self.dimension, self.clip_norm = settings, dimension, settings.clip_norm
        self.options = checked_options("mechanism", settings.mechanism, dict(self.defaults))

    @property
    def is_plain(self) -> bool:
        """Whether the node stage adds an update as it is, so that a chunk may go through one compiled program."""
        return False

    def draw(self, key: bytes, server_round: int, clients: Pseudonyms, attempt: int) -> Pseudonyms:
        """Returns a cohort: each client by itself with the sampling rate (Poisson sampling).

        Args:
          key: the cohort key.
          server_round: the round, from 1.
          clients: the population.
          attempt: 0; a round that was charged and has to be run again draws another cohort under the next number.
        """
        rate = self.settings.sampling_rate
        if self.settings.simulated:  # as many clients as were asked for, on average
            rate = min(1.0, self.settings.cohort_size / max(len(clients), 1))
        return poisson_cohort(key, server_round + attempt * _ATTEMPT, clients, rate)

    def told(self) -> Mapping[str, float]:
        """Returns what nodes are told in the next round. All of it is public."""
        return {"clip-norm": self.clip_norm}

    def hear(self, told: Mapping[str, float]) -> None:
        """Takes over, at a node, what the server told.

        Raises:
          ConfigError: it is not what the run's noise and statement are for.
        """
        norm = told.get("clip-norm", 0.0)
        if not (norm > 0 and math.isfinite(norm)):
            raise ConfigError("The message names no finite clip norm above 0, without which nothing bounds an update.")
        self.settings.check_told_norm(norm)
        self.clip_norm = norm

    def contribute(self, total: ExactSum, update: Weights | None, weight: int, source: Source) -> bool:
        """The node stage: adds a client's update to a chunk's sum in place.

        Args:
          total: the chunk's sum.
          update: local - global; None if the client failed.
          weight: the client's whole-number weight.
          source: of noise bits, where the node draws noise.

        Returns:
          Whether the update is in the sum.
        """
        raise NotImplementedError

    def event(self, server_round: int, cohort: Pseudonyms) -> Release:
        """Returns what releasing this round will cost. Depends on public values and earlier releases only."""
        raise NotImplementedError

    def took_part(self, cohort: Pseudonyms) -> None:
        """Notes a cohort that was asked, in this process or before a resume."""

    def release(self, event: Release, total: ExactSum, source: Source) -> IntSums:
        """The server stage: returns the noised sum; called once per event, after it was charged."""
        raise NotImplementedError

    def state(self) -> dict[str, float]:
        """Returns what the next round depends on."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Puts back what `state` returned."""
