"""The privacy settings of a run, and the combinations that are refused."""

import math
from dataclasses import dataclass

from fedlm.aggregation.exact import LIMIT, SCALE
from fedlm.errors import ConfigError
from fedlm.privacy.noise import MAX_SIGMA
from fedlm.spec import Spec

MAX_MULTIPLIER = 1e6


@dataclass(frozen=True)
class Traits:
    """The properties of a mechanism, which hold for every run; the mechanism's file states them.

    Attributes:
      private: whether it provides differential privacy.
      title: its name in the privacy statement.
      neighbours: which two data sets count as neighbours.
      adversary: against whom the statement holds.
      assumptions: what the statement assumes, besides what every mechanism assumes.
      counts_population: whether the statement depends on the public size of the population, as amplification by sampling does.
      distance: the distance between the sums of neighbours, in units of the sensitivity: 1 where a client is added or
        removed, 2 where its text is replaced.
      node_noise: whether nodes add the noise.
      moves_norm: whether the clip norm changes from round to round, as a function of earlier releases.
    """

    private: bool
    title: str = ""
    neighbours: str = ""
    adversary: str = ""
    assumptions: tuple[str, ...] = ()
    counts_population: bool = False
    distance: float = 1.0
    node_noise: bool = False
    moves_norm: bool = False


@dataclass(frozen=True)
class PrivacySettings:
    """The privacy part of a run's configuration. All of it is public.

    Attributes:
      mechanism: a file of `fedlm/privacy/mechanisms/`, with options.
      traits: the mechanism's properties.
      weighting: "uniform", or "capped(tokens=cap)".
      clip_norm: L2 bound on a client's update; an adaptive mechanism starts from it.
      noise_multiplier: standard deviation of the noise over the sensitivity; 0 means no noise and no guarantee.
      sampling_rate: probability that a client takes part in a round (Poisson sampling).
      cohort_size: the expected cohort size, the denominator of the mean under "uniform".
      population_weight: W of McMahan et al. 2018, the population's expected total of min(tokens, cap); the denominator
        of the mean under "capped" is sampling_rate * W.
      noise_cohort_size: the cohort size of the deployment that the run simulates; 0 is `cohort_size` itself.
      delta: at which epsilon is stated.
      epsilon_budget: the run stops before it would exceed this epsilon; 0 sets no limit.
      reproducible: derives the noise from the seed, which leaves no guarantee.
      partition: how the corpus was distributed over new clients; empty where clients are the corpus' users.
      max_clients: how many of the corpus' clients were kept; 0 if all were.
      vocabulary: the spec of the run's vocabulary.
    """

    mechanism: Spec
    traits: Traits
    weighting: Spec
    clip_norm: float
    noise_multiplier: float
    sampling_rate: float
    cohort_size: int
    population_weight: float
    noise_cohort_size: int
    delta: float
    epsilon_budget: float
    reproducible: bool
    partition: str
    max_clients: int
    vocabulary: str

    @property
    def on(self) -> bool:
        """Whether the run provides differential privacy."""
        return self.traits.private

    @property
    def cap(self) -> int:
        """The largest weight of a client."""
        return int(self.weighting.options["tokens"]) if self.weighting.name == "capped" else 1

    @property
    def denominator(self) -> float:
        """The divisor of the noised sum: public, and the same in every round."""
        if self.weighting.name == "uniform":
            return self.cohort_size
        return self.sampling_rate * self.population_weight * self._scale

    @property
    def simulated(self) -> bool:
        """Whether a small cohort simulates a larger one and gets a share of its noise."""
        return self.noise_cohort_size > self.cohort_size

    @property
    def expected_cohort(self) -> int:
        """The cohort size that the guarantee is stated for."""
        return self.noise_cohort_size or self.cohort_size

    @property
    def _scale(self) -> float:
        """Cohort size over the cohort size that the run simulates. Sum and noise shrink together, so the noise on the mean stays."""
        return self.cohort_size / self.expected_cohort

    @property
    def population(self) -> float:
        """The public population size: expected cohort over sampling rate."""
        return self.expected_cohort / self.sampling_rate

    def sensitivity(self, clip_norm: float, dimension: int) -> float:
        """Returns the L2 sensitivity of the integer sum to one client: cap C 2^24, plus sqrt(d)/2 for the rounding."""
        return self.cap * clip_norm * SCALE + math.sqrt(dimension) / 2

    def noise_std(self, clip_norm: float, dimension: int) -> int:
        """Returns the standard deviation of the noise on the integer sum, a whole number; 0 means no noise."""
        return math.ceil(self.noise_multiplier * self.sensitivity(clip_norm, dimension) * self._scale)

    def check(self, *, accepts_mean: bool = True) -> None:
        """Refuses settings for which no guarantee can be stated.

        Args:
          accepts_mean: whether the strategy needs only the cohort's mean.

        Raises:
          ConfigError: one sentence that says what to change.
        """
        if not self.on:
            self._check_unused()
            return
        self._check_numbers()
        self._check_weighting()
        _refuse(
            not accepts_mean,
            "differential privacy needs a strategy that uses only the cohort's mean, such as FedAvg or FedAdam",
        )
        smaller = 0 < self.noise_cohort_size < self.cohort_size
        _refuse(smaller, "noise_cohort_size must be at least cohort_size")
        local = self.simulated and self.traits.node_noise  # nodes add the noise of one client, whatever the cohort
        _refuse(local, f"noise_cohort_size has no effect with mechanism={self.mechanism.name}: leave it 0")

    def _check_unused(self) -> None:
        names = ("clip_norm", "noise_multiplier", "sampling_rate", "epsilon_budget", "noise_cohort_size")
        unused = [n for n in names if getattr(self, n)]
        what = ", ".join(unused)
        _refuse(
            bool(unused),
            f"without a mechanism, {what} would have no effect: set mechanism (docs/differential-privacy.md)",
        )

    def _check_numbers(self) -> None:
        name = self.mechanism.name
        numbers = all(type(v) in (int, float) and math.isfinite(v) for v in self.mechanism.options.values())
        _refuse(not numbers, f"the options of mechanism {name!r} must be finite numbers")
        missing = []
        if self.clip_norm <= 0:
            missing.append("clip_norm > 0, which bounds each update")
        if not 0 < self.sampling_rate <= 1:
            missing.append("a sampling_rate above 0 and at most 1")
        _refuse(bool(missing), f"mechanism={name} needs {' and '.join(missing)}")
        _refuse(not 0 < self.delta < 1, "delta must be between 0 and 1")
        finite = all(map(math.isfinite, (self.clip_norm, self.noise_multiplier, self.population_weight)))
        _refuse(not finite, "clip_norm, noise_multiplier and population_weight must be finite")
        _refuse(self.noise_multiplier > MAX_MULTIPLIER, f"noise_multiplier must be at most {MAX_MULTIPLIER:g}")

    def _check_weighting(self) -> None:
        # The sensitivity is proportional to the largest weight, so weights must have a public bound.
        _refuse(
            self.weighting.name == "tokens",
            "token weights are unbounded: with differential privacy, use weighting=uniform or capped(tokens=N)",
        )
        _refuse(
            self.weighting.name == "capped" and self.population_weight <= 0,
            "with differential privacy, capped weights need population_weight, a public estimate of their total",
        )

    def check_clip_norm(self, clip_norm: float) -> None:
        """Refuses a message's clip norm that the run's noise and privacy statement do not cover.

        Raises:
          ConfigError: it differs from the run's, and the mechanism does not adapt it.
        """
        _refuse(
            clip_norm != self.clip_norm and not self.traits.moves_norm,
            f"the message sets the clip norm {clip_norm!r}, but the run's clip_norm is {self.clip_norm!r}, "
            f"and mechanism={self.mechanism.name} does not change it",
        )

    def check_overflow(self, clip_norm: float, dimension: int, clients: int) -> None:
        """Refuses sums that could exceed 2**62 with every client at its bound and noise of 40 standard deviations.

        Where nodes add the noise, 40 standard deviations are allowed for each client: the server's check of a reply allows
        them, and replies of any split have to add up (`fedlm/aggregation/bounds.py`).

        Raises:
          ConfigError: the sums could overflow.
        """
        sigma, each = self.noise_std(clip_norm, dimension), self.sensitivity(clip_norm, dimension)
        noises = clients if self.traits.node_noise else 1
        too_large = sigma > MAX_SIGMA or each * clients + 40 * sigma * noises > LIMIT
        _refuse(
            too_large,
            f"clip_norm={clip_norm:g} with {clients} clients and this noise could overflow the sums: lower it",
        )


def _refuse(when: bool, why: str) -> None:
    if when:
        is_key = any(mark in why.split()[0] for mark in "_=")  # a sentence that begins with a key keeps the key's case
        raise ConfigError(f"{why if is_key else why[0].upper() + why[1:]}.")
