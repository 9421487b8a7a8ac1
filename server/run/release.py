"""What leaves a round: the cohort's mean as it is, or under differential privacy charged, noised and over a fixed denominator.

One class for both: a `Mechanism` says who is drawn and what is noised. This file adds what a server keeps for it in the
run's folder: the ledger, and the cohort key, since amplification by sampling holds only against those who do not know
the cohort.
"""

import math
import secrets
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from fedlm.aggregation.exact import SCALE, ExactSum
from fedlm.config import RunConfig
from fedlm.errors import FedLMError
from fedlm.privacy.accounting import Release
from fedlm.privacy.ledger import FILE, Ledger
from fedlm.privacy.mechanisms.registry import build_mechanism
from fedlm.privacy.noise import noise_source
from fedlm.privacy.sampling import cohort_key
from fedlm.privacy.vocabulary import charged_before, ledger_release
from fedlm.rng import Purpose, Stream
from fedlm.system.files import write_atomic
from fedlm.types import Pseudonyms, Weights

_KEY_BYTES = 32


class ReleaseStage(Protocol):
    """What the round loop asks.

    Attributes:
      charges: whether a round costs privacy budget. Then a chunk that fails is asked again client by client, since one
        client may not decide over another's part in the sum; a round without any client counts, as its noise does; and
        a round is on the disk before the next one begins.
    """

    charges: bool

    def draw(self, server_round: int) -> Pseudonyms:
        """Returns the cohort of a round."""

    def affords(self, server_round: int) -> bool:
        """Returns whether the privacy budget allows a round."""

    def charge(self, server_round: int, cohort: Pseudonyms) -> Release | None:
        """Charges a round before its nodes are asked."""

    def told(self) -> Mapping[str, float]:
        """Returns what nodes are told in the next round."""

    def mean(self, event: Release | None, total: ExactSum, weights: Weights) -> Weights:
        """Returns global weights + mean update, as it is released."""

    def public(self) -> dict[str, float | str | None]:
        """Returns what a round's public line says of it."""

    def state(self) -> dict[str, float]:
        """Returns what the checkpoint keeps."""

    def restore(self, done: int, state: Mapping[str, float]) -> None:
        """Puts back what the checkpoint after `done` rounds kept."""


class OpenRelease:
    """The mean as it is.

    Args:
      config: of the run.
      population: all clients, (clients,).
    """

    charges = False

    def __init__(self, config: RunConfig, population: Pseudonyms) -> None:
        self._mechanism, self._population = build_mechanism(config.privacy, 0), population
        self._key = cohort_key(config.seed)

    def draw(self, server_round: int) -> Pseudonyms:
        """Returns a cohort of fixed size, by hash."""
        return self._mechanism.draw(self._key, server_round, self._population, 0)

    def affords(self, server_round: int) -> bool:
        """Returns True: nothing is spent."""
        return True

    def charge(self, server_round: int, cohort: Pseudonyms) -> None:
        """Charges nothing."""

    def told(self) -> Mapping[str, float]:
        """Returns nothing."""
        return {}

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
        """Puts nothing back."""


class PrivateRelease:
    """The noised mean of a private run.

    Args:
      config: of the run, with a mechanism.
      folder: the run's folder; ledger and cohort key are kept there.
      population: all clients, (clients,).
      weights: their shapes.

    Raises:
      ConfigError: the sums could overflow, or an option of the mechanism is invalid.
      FedLMError: the ledger or the cohort key of a run that has begun is gone or damaged.
    """

    charges = True

    def __init__(self, config: RunConfig, folder: Path, population: Pseudonyms, weights: Weights) -> None:
        self.settings, self._seed, self._population = config.privacy, config.seed, population
        self.dimension = sum(w.size for w in weights)
        self._mechanism = build_mechanism(self.settings, self.dimension)
        self.settings.check_overflow(self.settings.clip_norm, self.dimension, len(population))
        self.ledger = Ledger.open(folder / FILE, self.settings)
        rounds = [r for r in self.ledger.releases if r.is_of_a_round]
        reproducible, checkpoint = self.settings.reproducible, folder / "checkpoint"
        self._key = cohort_key(config.seed) if reproducible else _secret_key(checkpoint, begun=bool(rounds))
        self._charge_vocabulary(config)
        seen = Counter[int]()
        for release in rounds:  # what a mechanism counts of earlier cohorts follows from the key
            self._mechanism.took_part(self._draw(release.round, seen[release.round]))
            seen[release.round] += 1

    def _charge_vocabulary(self, config: RunConfig) -> None:
        """Charges a vocabulary that another run learned privately, once."""
        words = charged_before(config.vocabulary_text)
        if words is not None and all(r.is_of_a_round for r in self.ledger.releases):
            self.ledger.charge(ledger_release(words, self.settings.traits.distance))

    @property
    def clip_norm(self) -> float:
        """The bound to which nodes clip in the next round."""
        return self._mechanism.clip_norm

    def state(self) -> dict[str, float]:
        """Returns what the mechanism remembers; all of it is released."""
        return self._mechanism.state()

    def restore(self, done: int, state: Mapping[str, float]) -> None:
        """Puts back what the checkpoint after `done` rounds kept.

        Raises:
          FedLMError: the ledger lacks a round that the checkpoint has: it is gone, or an old one was put back.
        """
        if not set(range(1, done + 1)) <= {r.round for r in self.ledger.releases}:
            raise FedLMError(
                f"{FILE} lacks rounds that the checkpoint has: restore it, without it the run cannot continue."
            )
        self._mechanism.restore(state)

    def draw(self, server_round: int) -> Pseudonyms:
        """Returns the cohort of a round's next release.

        A round that was charged and has to be run again draws other clients: nodes may have seen its first result, and
        two releases over one sample cost more than the two independent ones that the ledger then has.
        """
        return self._draw(server_round, sum(r.round == server_round for r in self.ledger.releases))

    def _draw(self, server_round: int, attempt: int) -> Pseudonyms:
        return self._mechanism.draw(self._key, server_round, self._population, attempt)

    def affords(self, server_round: int) -> bool:
        """Returns whether the budget allows a round."""
        return self.ledger.affords(self._mechanism.event(server_round, self.draw(server_round)))

    def charge(self, server_round: int, cohort: Pseudonyms) -> Release:
        """Writes a round into the ledger. A node may draw noise itself, so this comes before nodes are asked.

        Raises:
          BudgetError: it would pass the budget.
          ConfigError: at its clip norm the sums could overflow.
        """
        event = self._mechanism.event(server_round, cohort)
        self.settings.check_overflow(event.clip_norm, self.dimension, len(self._population))
        self.ledger.charge(event)
        self._mechanism.took_part(cohort)
        return event

    def told(self) -> Mapping[str, float]:
        """Returns the mechanism's public numbers."""
        return self._mechanism.told()

    def mean(self, event: Release | None, total: ExactSum, weights: Weights) -> Weights:
        """Returns the next weights before the optimizer: noise is drawn here, once per event; the denominator is public."""
        if event is None:
            raise FedLMError("A private round was not charged, so nothing of it may be released.")
        source = noise_source(self.settings.reproducible, Stream(self._seed, Purpose.SERVER_NOISE, event.round))
        noised = ExactSum(self._mechanism.release(event, total, source))
        return noised.mean(weights, self.settings.denominator)

    def public(self) -> dict[str, float | str | None]:
        """Returns the privacy spent so far, and the clip norm."""
        epsilon = self.ledger.epsilon() if not self.ledger.why_none() else math.inf
        return {"epsilon": epsilon if math.isfinite(epsilon) else None, "clip_norm": self.clip_norm}

    def noise_on_mean(self) -> float:
        """Returns the standard deviation of the noise on a coordinate of the next mean, in the unit of the weights."""
        std = self._mechanism.event(0, self._population[:0]).noise_std
        return std / SCALE / self.settings.denominator


def _secret_key(folder: Path, *, begun: bool) -> bytes:
    """Returns the run's cohort key: 32 random bytes in a file of mode 0600 that is written once, whole.

    Raises:
      FedLMError: the file holds something else, or it is gone though the run has begun: who took part could not be told.
    """
    path = folder / "cohort.key"
    if begun and not path.is_file():
        raise FedLMError(f"The cohort key {path} is gone: restore it, or start a new run.")
    if not path.is_file():
        folder.mkdir(exist_ok=True, mode=0o700)
        write_atomic(path, secrets.token_bytes(_KEY_BYTES), private=True)
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:  # a short key could be guessed, and the sampling would hide nobody
        raise FedLMError(f"The cohort key {path} is damaged: restore it, or start a new run.")
    return key
