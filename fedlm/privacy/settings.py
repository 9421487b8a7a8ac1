"""What a run asks of differential privacy, and which combinations are refused."""

import math
from dataclasses import dataclass

from fedlm.aggregation.exact import LIMIT, SCALE
from fedlm.errors import ConfigError
from fedlm.privacy.noise import MAX_SIGMA
from fedlm.spec import Spec

MAX_MULTIPLIER = 1e6


@dataclass(frozen=True)
class Traits:
    """What is true of a mechanism, whatever the run; a mechanism's file states it.

    Attributes:
      private: whether it gives differential privacy at all.
      title: its name in a statement.
      neighbours: which two data sets may not be told apart.
      adversary: against whom the statement holds.
      assumptions: what has to be true for that, beside what holds for all mechanisms.
      counts_population: whether the statement rests on the public size of the population, as amplification by sampling does.
      distance: how many times the sensitivity the sums of neighbours differ: 1 where a client is added or removed, 2
        where its text is replaced.
      node_noise: whether nodes add the noise.
      moves_norm: whether the clip norm changes from round to round, by what was released.
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
      traits: of the mechanism.
      weighting: "uniform", or "capped(tokens=cap)".
      clip_norm: bound of a client's update; where the mechanism moves it, that of the first round.
      noise_multiplier: standard deviation of the noise over the sensitivity; 0 is no noise and no guarantee.
      sampling_rate: probability that a client is drawn in a round (Poisson).
      cohort_size: the cohort that is expected, the denominator of the mean under "uniform".
      population_weight: W of McMahan et al. 2018, the population's expected total of min(tokens, cap); the denominator
        of the mean under "capped" is sampling_rate * W.
      noise_cohort_size: the cohort that the run stands for; 0 is `cohort_size` itself.
      delta, epsilon_budget: the guarantee that is stated, and where the run stops (0: nowhere).
      reproducible: noise from the seed; then there is no guarantee.
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

    @property
    def on(self) -> bool:
        """Whether the run is private at all."""
        return self.traits.private

    @property
    def cap(self) -> int:
        """The largest weight of a client."""
        return int(self.weighting.options["tokens"]) if self.weighting.name == "capped" else 1

    @property
    def denominator(self) -> float:
        """What the noised sum is divided by: public, and the same every round."""
        if self.weighting.name == "uniform":
            return self.cohort_size
        return self.sampling_rate * self.population_weight * self._scale

    @property
    def simulated(self) -> bool:
        """Whether a small cohort stands for a larger one, with its noise."""
        return self.noise_cohort_size > self.cohort_size

    @property
    def expected_cohort(self) -> int:
        """The cohort whose guarantee is stated."""
        return self.noise_cohort_size or self.cohort_size

    @property
    def _scale(self) -> float:
        """What a simulated cohort's sum and noise are, as a share of those of the cohort that it stands for."""
        return self.cohort_size / self.expected_cohort

    @property
    def population(self) -> float:
        """The public population: expected cohort over rate."""
        return self.expected_cohort / self.sampling_rate

    def sensitivity(self, clip_norm: float, dimension: int) -> float:
        """Returns the most by which one client moves the integer sum, in L2: cap C 2^24 + sqrt(d)/2 (rounding)."""
        return self.cap * clip_norm * SCALE + math.sqrt(dimension) / 2

    def noise_std(self, clip_norm: float, dimension: int) -> int:
        """Returns the whole-number standard deviation of the noise on the integer sum; 0 is none."""
        return math.ceil(self.noise_multiplier * self.sensitivity(clip_norm, dimension) * self._scale)

    def check(self, *, accepts_mean: bool = True) -> None:
        """Refuses what no guarantee could be stated for.

        Args:
          accepts_mean: whether the strategy takes the cohort's mean only.

        Raises:
          ConfigError: one sentence that says what to change.
        """
        if not self.on:
            names = ("clip_norm", "noise_multiplier", "sampling_rate", "epsilon_budget", "noise_cohort_size")
            unused = [n for n in names if getattr(self, n)]
            what = f"without a mechanism (docs/differential-privacy.md) there is no privacy, and no {', '.join(unused)}"
            _refuse(bool(unused), what)
            return
        name = self.mechanism.name
        numbers = all(type(v) in (int, float) and math.isfinite(v) for v in self.mechanism.options.values())
        _refuse(not numbers, f"the options of mechanism {name!r} are numbers")
        _refuse(self.clip_norm <= 0, f"mechanism={name} adds noise, which means nothing without a clip_norm > 0")
        _refuse(not 0 < self.sampling_rate <= 1, f"mechanism={name} needs sampling_rate, above 0 and at most 1")
        _refuse(not 0 < self.delta < 1, "delta must lie between 0 and 1")
        finite = all(map(math.isfinite, (self.clip_norm, self.noise_multiplier, self.population_weight)))
        _refuse(not finite, "clip_norm, noise_multiplier and population_weight must be finite")
        _refuse(self.noise_multiplier > MAX_MULTIPLIER, f"noise_multiplier must be at most {MAX_MULTIPLIER:g}")
        plain = self.weighting.name == "tokens"
        _refuse(plain, "token weights have no bound: under privacy use weighting=uniform or capped(tokens=N)")
        weighted = self.weighting.name == "capped" and self.population_weight <= 0
        _refuse(weighted, "capped weights under privacy need population_weight, a public estimate of their total")
        _refuse(not accepts_mean, "privacy needs a strategy that takes the cohort's mean, such as FedAvg or FedAdam")
        smaller = 0 < self.noise_cohort_size < self.cohort_size
        _refuse(smaller, "noise_cohort_size must be at least cohort_size")
        _refuse(self.simulated and self.traits.node_noise, f"noise_cohort_size means nothing for mechanism={name}")

    def check_told_norm(self, told: float) -> None:
        """Refuses the clip norm of a message that is not the run's, which noise and statement are for.

        Raises:
          ConfigError: it is another, and the mechanism is not the one that moves it from round to round.
        """
        _refuse(
            told != self.clip_norm and not self.traits.moves_norm,
            f"the message asks for clipping to {told!r}, but the run's clip_norm is {self.clip_norm!r}, "
            f"and mechanism={self.mechanism.name} does not change it",
        )

    def check_overflow(self, clip_norm: float, dimension: int, clients: int) -> None:
        """Refuses sums that could pass 2**62: every client at its bound, and noise of 40 standard deviations.

        Raises:
          ConfigError: they could.
        """
        sigma, each = self.noise_std(clip_norm, dimension), self.sensitivity(clip_norm, dimension)
        noises = math.sqrt(clients) if self.traits.node_noise else 1.0
        too_large = sigma > MAX_SIGMA or each * clients + 40 * sigma * noises > LIMIT
        _refuse(too_large, f"clip_norm {clip_norm:g} with {clients} clients and this noise could overflow the sums")


def _refuse(when: bool, why: str) -> None:
    if when:
        is_key = any(mark in why.split()[0] for mark in "_=")  # keys are written as they are
        raise ConfigError(f"{why if is_key else why[0].upper() + why[1:]}.")
