"""The release stage of a round: the mean update unchanged, or under differential privacy charged, noised and normalised.

    without privacy   w + sum / 2**24 / sum_i w_i             the realised total weight
    with privacy      w + (sum + noise) / 2**24 / denominator a fixed public number: the realised total would need noise, too

A `Mechanism` samples the cohort and adds the noise. This file adds what the server stores for it in the run's folder: the
ledger and the cohort key. The key is secret, because sampling amplifies privacy only against those who do not know the cohort.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from fedlm.aggregation.bounds import Bounds
from fedlm.aggregation.exact import SCALE, ExactSum
from fedlm.config import RunConfig
from fedlm.errors import FedLMError
from fedlm.privacy.accounting import Release
from fedlm.privacy.folder import CHECKPOINTS, owned
from fedlm.privacy.guarantee import covers
from fedlm.privacy.ledger import FILE, Ledger
from fedlm.privacy.mechanisms.registry import build_mechanism
from fedlm.privacy.noise import noise_source
from fedlm.privacy.sampling import cohort_key
from fedlm.privacy.vocabulary import charged_before, ledger_release
from fedlm.rng import Purpose, Stream
from fedlm.types import Pseudonyms, Weights
from server.run.bounds import client_bounds, of_round
from server.store.cohort_key import secret_key


class ReleaseStage(Protocol):
    """The interface of the release stage for the round loop.

    Attributes:
      charges: whether a round costs privacy budget. If so, a round that loses a chunk releases nothing, because one client
        must not decide whether others are in the sum; a round without any client still counts, since its noise is
        released; and a round is on disk before the next one begins.
    """

    charges: bool

    def sample(self, server_round: int) -> Pseudonyms:
        """Samples the cohort of a round."""

    def attempt(self, server_round: int) -> int:
        """Returns how often the round was charged before: its next attempt has a new cohort."""

    def affords(self, server_round: int) -> bool:
        """Returns whether the privacy budget allows a round."""

    def charge(self, server_round: int, cohort: Pseudonyms) -> Release | None:
        """Charges a round before any request is sent."""

    def broadcast(self) -> Mapping[str, float]:
        """Returns the mechanism's public numbers for all nodes in the next round."""

    def bounds(self) -> Bounds:
        """Returns what one client can contribute to the next round at most."""

    def mean(self, event: Release | None, total: ExactSum, weights: Weights) -> Weights:
        """Returns the released value of global weights + mean update."""

    def public(self) -> dict[str, float | str | None]:
        """Returns what a round's public line of metrics contains."""

    def state(self) -> dict[str, float]:
        """Returns the state for the checkpoint."""

    def restore(self, done: int, state: Mapping[str, float]) -> None:
        """Restores the state of the checkpoint after `done` rounds."""


class OpenRelease:
    """The mean without noise.

    Args:
      config: the run's configuration.
      population: all clients, (clients,).
    """

    charges = False

    def __init__(self, config: RunConfig, population: Pseudonyms) -> None:
        self._mechanism, self._population = build_mechanism(config.privacy, 0), population
        self._key = cohort_key(config.seed)
        self._bounds = client_bounds(config, self._mechanism)

    def sample(self, server_round: int) -> Pseudonyms:
        """Samples a cohort of fixed size, by hash."""
        return self._mechanism.sample(self._key, server_round, self._population, 0)

    def attempt(self, server_round: int) -> int:
        """Returns 0: a round that is repeated is the same round."""
        return 0

    def affords(self, server_round: int) -> bool:
        """Returns True: nothing is spent."""
        return True

    def charge(self, server_round: int, cohort: Pseudonyms) -> None:
        """Charges nothing."""

    def broadcast(self) -> Mapping[str, float]:
        """Returns nothing: no public numbers are needed."""
        return {}

    def bounds(self) -> Bounds:
        """Returns the limits of the configuration."""
        return self._bounds

    def mean(self, event: Release | None, total: ExactSum, weights: Weights) -> Weights:
        """Returns float32(weights + sum / 2**24 / total weight)."""
        return total.mean(weights)

    def public(self) -> dict[str, float | str | None]:
        """Returns nothing."""
        return {}

    def state(self) -> dict[str, float]:
        """Returns nothing."""
        return {}

    def restore(self, done: int, state: Mapping[str, float]) -> None:
        """Restores nothing."""


class PrivateRelease:
    """The noised mean of a private run.

    Args:
      config: the run's configuration, with a mechanism.
      folder: the run's folder, with the ledger and the cohort key.
      population: all clients, (clients,).
      weights: any weights of the model, for their shapes.

    Raises:
      ConfigError: the sums could overflow, or an option of the mechanism is invalid.
      FedLMError: the ledger or the cohort key of a started run is missing or damaged.
    """

    charges = True

    def __init__(self, config: RunConfig, folder: Path, population: Pseudonyms, weights: Weights) -> None:
        self.settings, self._seed, self._population = config.privacy, config.seed, population
        self.dimension = sum(w.size for w in weights)
        self._mechanism = build_mechanism(self.settings, self.dimension)
        self.settings.check_overflow(self.settings.clip_norm, self.dimension, len(population))
        self.ledger = Ledger.open(folder / FILE, self.settings)
        rounds = [r for r in self.ledger.releases if r.is_of_a_round]
        reproducible, checkpoint = self.settings.reproducible, owned(folder, CHECKPOINTS)
        self._key = cohort_key(config.seed) if reproducible else secret_key(checkpoint, begun=bool(rounds))
        self._bounds = client_bounds(config, self._mechanism)
        self._charge_vocabulary(config)
        self._replay_participation(rounds)

    def _replay_participation(self, rounds: Sequence[Release]) -> None:
        """Reports the cohorts of earlier rounds to the mechanism; they are recomputed from the key, never stored."""
        attempts = Counter[int]()
        for release in rounds:
            self._mechanism.took_part(self._sample(release.round, attempts[release.round]))
            attempts[release.round] += 1

    def _charge_vocabulary(self, config: RunConfig) -> None:
        """Charges, once, a private vocabulary that another run has learned."""
        words = charged_before(config.vocabulary_text)
        if words is not None and all(r.is_of_a_round for r in self.ledger.releases):
            self.ledger.charge(ledger_release(words, self.settings.traits.distance))

    @property
    def clip_norm(self) -> float:
        """The clip norm of the next round."""
        return self._mechanism.clip_norm

    def state(self) -> dict[str, float]:
        """Returns the mechanism's state; all of it has been released."""
        return self._mechanism.state()

    def restore(self, done: int, state: Mapping[str, float]) -> None:
        """Restores the state of the checkpoint after `done` rounds.

        Raises:
          FedLMError: the ledger lacks a round of the checkpoint: it was lost, or replaced by an older copy.
        """
        if not set(range(1, done + 1)) <= {r.round for r in self.ledger.releases}:
            raise FedLMError(
                f"{FILE} lacks rounds that the checkpoint has: restore it, the run cannot continue without it."
            )
        self._mechanism.restore(state)

    def sample(self, server_round: int) -> Pseudonyms:
        """Samples the cohort of a round's next release.

        A charged round that has to be repeated gets a new cohort. Nodes may have seen its first result, and two releases
        from one sample cost more than the two independent ones that the ledger charges.
        """
        return self._sample(server_round, self.attempt(server_round))

    def attempt(self, server_round: int) -> int:
        """Returns the number of the round's charges so far."""
        return sum(r.round == server_round for r in self.ledger.releases)

    def _sample(self, server_round: int, attempt: int) -> Pseudonyms:
        return self._mechanism.sample(self._key, server_round, self._population, attempt)

    def affords(self, server_round: int) -> bool:
        """Returns whether the budget allows a round."""
        return self.ledger.affords(self._mechanism.event(server_round, self.sample(server_round)))

    def charge(self, server_round: int, cohort: Pseudonyms) -> Release:
        """Writes a round to the ledger. Nodes may add noise themselves, so this happens before any request is sent.

        Raises:
          BudgetError: it would exceed the budget.
          ConfigError: with its clip norm, the sums could overflow.
        """
        event = self._mechanism.event(server_round, cohort)
        self.settings.check_overflow(event.clip_norm, self.dimension, len(self._population))
        self.ledger.charge(event)
        self._mechanism.took_part(cohort)
        return event

    def broadcast(self) -> Mapping[str, float]:
        """Returns the mechanism's public numbers."""
        return self._mechanism.broadcast()

    def bounds(self) -> Bounds:
        """Returns the limits of the configuration, with the clip norm of the next round."""
        return of_round(self._bounds, self._mechanism)

    def mean(self, event: Release | None, total: ExactSum, weights: Weights) -> Weights:
        """Returns float32(weights + noised sum / 2**24 / denominator); noise is generated once per event, here."""
        if event is None:
            raise FedLMError("A private round was not charged, so its result cannot be released.")
        source = noise_source(self.settings.reproducible, Stream(self._seed, Purpose.SERVER_NOISE, event.round))
        noised = ExactSum(self._mechanism.release(event, total, source))
        return noised.mean(weights, self.settings.denominator)

    def public(self) -> dict[str, float | str | None]:
        """Returns epsilon so far, for whom it holds, and the clip norm."""
        epsilon = self.ledger.epsilon() if not self.ledger.why_none() else math.inf
        return {
            "epsilon": epsilon if math.isfinite(epsilon) else None,
            "covers": covers(self.settings),
            "clip_norm": self.clip_norm,
        }

    def noise_on_mean(self) -> float:
        """Returns the standard deviation of the noise per coordinate of the next mean, in the unit of the weights."""
        std = self._mechanism.event(0, self._population[:0]).noise_std
        return std / SCALE / self.settings.denominator
