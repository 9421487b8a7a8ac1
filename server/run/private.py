"""The server's side of differential privacy: secret cohorts, a charge before every noise, a fixed denominator."""

import math
import secrets
from collections import Counter
from pathlib import Path

from fedlm.aggregation.exact import SCALE, ExactSum
from fedlm.config import RunConfig
from fedlm.errors import FedLMError
from fedlm.privacy.accounting import Release
from fedlm.privacy.ledger import FILE, Ledger
from fedlm.privacy.mechanisms.gaussian import noise_source
from fedlm.privacy.mechanisms.local import Local
from fedlm.privacy.mechanisms.registry import build_mechanism
from fedlm.privacy.vocabulary import charged_before, ledger_release
from fedlm.system.files import write_atomic
from fedlm.types import Pseudonyms, Weights
from server.run.sampling import cohort_key, poisson_cohort

_NOISE = 4  # the purpose, where noise is seeded
_KEY_BYTES = 32
_ATTEMPT = 2**40  # rounds are fewer; the hash of a round's second cohort is that of a round beyond all rounds


class PrivateRounds:
    """What the rounds of a private run share.

    Args:
      config: of the run, with a mechanism.
      folder: the run's folder; ledger and cohort key are kept there.
      population: all clients.
      weights: their shapes.

    Raises:
      ConfigError: the sums could overflow, or the mechanism's options do not do.
    """

    def __init__(self, config: RunConfig, folder: Path, population: Pseudonyms, weights: Weights) -> None:
        self.settings, self._seed, self._population = config.privacy, config.seed, population
        self.dimension = sum(w.size for w in weights)
        self._mechanism = build_mechanism(self.settings, self.dimension)
        self.settings.check_overflow(self.settings.clip_norm, self.dimension, len(population))
        self.ledger = Ledger.open(folder / FILE, self.settings)
        begun = any(r.mechanism != "vocabulary" for r in self.ledger.releases)
        self._key = cohort_key(config.seed) if self.settings.reproducible else _secret_key(folder / "checkpoint", begun)
        words = charged_before(config.vocabulary_text)
        if words is not None and not any(r.mechanism == "vocabulary" for r in self.ledger.releases):
            self.ledger.charge(
                ledger_release(words, local=isinstance(self._mechanism, Local))
            )  # another run's vocabulary
        if isinstance(self._mechanism, Local):
            seen = Counter[int]()
            for release in (r for r in self.ledger.releases if r.mechanism == "local"):
                self._mechanism.took_part(self._draw(release.round, seen[release.round]))
                seen[release.round] += 1

    @property
    def clip_norm(self) -> float:
        """The bound that nodes clip to in the next round."""
        return self._mechanism.clip_norm

    @property
    def state(self) -> dict[str, float]:
        """What the checkpoint keeps."""
        return self._mechanism.state()

    def restore(self, done: int, state: dict[str, float]) -> None:
        """Puts back what the checkpoint after `done` rounds kept.

        Raises:
          FedLMError: the ledger lacks a round that the checkpoint has: it is gone, or an old one was put back.
        """
        if not set(range(1, done + 1)) <= {r.round for r in self.ledger.releases}:
            raise FedLMError(
                f"{FILE} lacks rounds that the checkpoint has; put it back, without it the run cannot go on."
            )
        self._mechanism.restore(state)

    def draw(self, server_round: int) -> Pseudonyms:
        """Returns the cohort of a round's next release.

        A round that was charged and has to be run again draws other clients: nodes may have seen its first result, and
        two releases over one sample cost more than the two independent ones that the ledger then has.
        """
        return self._draw(server_round, sum(r.round == server_round for r in self.ledger.releases))

    def _draw(self, server_round: int, attempt: int) -> Pseudonyms:
        """Returns a cohort; a simulated one is as large as was asked for on average, whatever its rate."""
        rate = self.settings.sampling_rate
        if self.settings.simulated:
            rate = min(1.0, self.settings.cohort_size / max(len(self._population), 1))
        return poisson_cohort(self._key, server_round + attempt * _ATTEMPT, self._population, rate)

    def affords(self, server_round: int) -> bool:
        """Returns whether the budget allows a round."""
        return self.ledger.affords(self._mechanism.event(server_round, self.draw(server_round)))

    def charge(self, server_round: int, cohort: Pseudonyms) -> Release:
        """Writes a round into the ledger. Local noise is drawn at the nodes, so this comes before they are asked.

        Raises:
          BudgetError: it would pass the budget.
          ConfigError: at its clip norm the sums could overflow.
        """
        event = self._mechanism.event(server_round, cohort)
        self.settings.check_overflow(event.clip_norm, self.dimension, len(self._population))
        self.ledger.charge(event)
        if isinstance(self._mechanism, Local):
            self._mechanism.took_part(cohort)
        return event

    def mean(self, event: Release, total: ExactSum, weights: Weights) -> Weights:
        """Returns the next weights before the strategy: noise is drawn here, once per event; the denominator is public."""
        source = noise_source(self.settings, self._seed, _NOISE, event.round)
        noised = ExactSum(self._mechanism.release(event, total, source))
        return noised.mean(weights, self.settings.denominator)

    def public(self) -> dict[str, float | str | None]:
        """Returns what a round's public line may tell."""
        epsilon = self.ledger.epsilon() if not self.ledger.why_none() else math.inf
        return {"epsilon": epsilon if math.isfinite(epsilon) else None, "clip_norm": self.clip_norm}

    def noise_on_mean(self) -> float:
        """Returns the standard deviation of the noise on a coordinate of the next mean, in the unit of the weights."""
        std = self._mechanism.event(0, self._population[:0]).noise_std
        return std / SCALE / self.settings.denominator


def _secret_key(folder: Path, begun: bool) -> bytes:
    """Returns the run's cohort key: 32 random bytes in a file of mode 0600 that is written once, whole.

    Raises:
      FedLMError: the file holds something else, or it is gone though the run has begun: who took part could not be told.
    """
    path = folder / "cohort.key"
    if begun and not path.is_file():
        raise FedLMError(f"The cohort key {path} is gone; restore it, or start the run anew.")
    if not path.is_file():
        folder.mkdir(exist_ok=True, mode=0o700)
        write_atomic(path, secrets.token_bytes(_KEY_BYTES), private=True)
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:  # a short key could be guessed, and the sampling would hide nobody
        raise FedLMError(f"The cohort key {path} is damaged; restore it, or start the run anew.")
    return key
