"""From releases to epsilon, by Google's dp-accounting; nothing is computed here that it knows.

**Why the figures of the continuous Gaussian hold for ours.** The noise is discrete Gaussian on Z^d and a client shifts
the sum by an integer vector s with |s| <= sensitivity. Let P0 be the noise and P1 the noise shifted by s. For an integer
k, sum_x P0(x) (P1(x)/P0(x))^k = exp(k(k-1)|s|^2 / 2 sigma^2) * theta(k s) / theta(0), where theta(m) sums
exp(-|x-m|^2 / 2 sigma^2) over the lattice; k s is a lattice point, so the quotient is 1 and the moment is the continuous
one (Canonne, Kamath, Steinke 2020, proposition 5). The Renyi divergence of integer order alpha of a Poisson-sampled
Gaussian is a binomial sum of just these moments (Mironov, Talwar, Zhang 2019, section 3.3,
https://arxiv.org/abs/1908.10530), and x -> s - x swaps P0 and P1 on the lattice, so their theorem 5 (adding is the worse
direction) holds as well. Hence RDP at **integer orders** carries over; other orders are not used. A PLD figure is tighter,
but it is that of the continuous mechanism, and labelled so.

**Adaptive clipping**: sum and count come from the same sample, so they are one Gaussian of both (Andrew et al. 2021).
**Local**: two updates of a client differ by up to twice the bound, so the multiplier is halved; nothing is sampled,
because the server sees who answers.
"""

import functools
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

ORDERS = (*range(2, 65), 80, 96, 128, 192, 256, 512, 1024)
Method = Literal["rdp", "pld"]
_Key = tuple[tuple[float, ...], float]


def _key(release: "Release") -> _Key:
    """Returns what the cost of a release depends on: its noise multipliers and its sampling rate."""
    parts = (release.noise_multiplier, *([release.count_multiplier] if release.count_multiplier else []))
    parts = tuple(p / release.distance for p in parts)  # a distance of 2 halves what the noise is worth
    return parts, release.sampling_rate


def _event(key: _Key, method: Method) -> Any:
    import dp_accounting as dp

    multipliers, rate = key
    if method == "pld":  # it takes no composition under a sample
        multipliers = (math.hypot(*(1 / z for z in multipliers)) ** -1,)
    parts = [dp.GaussianDpEvent(z) for z in multipliers]
    inner = parts[0] if len(parts) == 1 else dp.ComposedDpEvent(parts)
    return inner if rate == 1 else dp.PoissonSampledDpEvent(rate, inner)


@functools.lru_cache(maxsize=4096)
def _epsilon(groups: frozenset[tuple[_Key, int]], delta: float, method: Method) -> float:
    from dp_accounting import pld, rdp

    if not groups:
        return 0.0
    if any(0 in multipliers for (multipliers, _), _ in groups):
        return math.inf
    accountant = rdp.RdpAccountant(ORDERS) if method == "rdp" else pld.PLDAccountant()
    for key, count in groups:
        accountant.compose(_event(key, method), count)
    return float(accountant.get_epsilon(delta))


def epsilon(releases: Iterable["Release"], delta: float, method: Method = "rdp") -> float:
    """Returns epsilon at `delta` of all releases together.

    Args:
      releases: what was released, or will be.
      delta: the probability that the bound does not hold.
      method: "rdp" holds for the discrete noise; "pld" is the tighter figure of the continuous mechanism.
    """
    counts: Counter[_Key] = Counter()
    for release in releases:
        counts[_key(release)] += release.compositions
        delta -= release.delta  # of a vocabulary's threshold; the deltas add
    if delta <= 0:
        return math.inf
    return _epsilon(frozenset((k, n) for k, n in counts.items() if n), delta, method)


def plan(*, target: float, delta: float, rounds: int, sampling_rate: float, method: Method = "rdp") -> float:
    """Returns the smallest noise multiplier (to 1e-4) with which so many Poisson-sampled rounds cost at most `target`.

    Raises:
      ValueError: an argument is out of range, or no noise multiplier does it.
    """
    import dp_accounting as dp
    from dp_accounting import mechanism_calibration, pld, rdp

    if not (target > 0 and 0 < delta < 1 and rounds >= 1 and 0 < sampling_rate <= 1):
        raise ValueError(f"Expected {target=} > 0, 0 < {delta=} < 1, {rounds=} >= 1 and 0 < {sampling_rate=} <= 1.")
    try:
        found = dp.calibrate_dp_mechanism(
            (lambda: rdp.RdpAccountant(ORDERS)) if method == "rdp" else pld.PLDAccountant,
            lambda z: dp.SelfComposedDpEvent(_event(((z,), sampling_rate), method), rounds),
            target,
            delta,
            bracket_interval=dp.LowerEndpointAndGuess(0.2, 1.0),
            tol=1e-4,
        )
    except mechanism_calibration.NoBracketIntervalFoundError:
        raise ValueError(
            f"No noise multiplier of at least 0.2 costs epsilon {target:g}: it would be less noise."
        ) from None
    return float(found)


@dataclass(frozen=True)
class Release:
    """One noised sum that left the mechanism.

    Attributes:
      round: the round; twice in the ledger if it had to be run again.
      mechanism: the name of a file of `fedlm/privacy/mechanisms/`, or "vocabulary".
      sampling_rate: probability with which each client was in it.
      noise_multiplier: standard deviation of the noise on the sum of updates, over the sensitivity.
      clip_norm: the bound C of an update.
      cap: the largest weight of a client.
      clients: clients expected; the realised number is not public.
      noise_std: standard deviation that was drawn, on the integer sum.
      count_multiplier: the same as noise_multiplier for the count below the clip norm; 0 where nothing was counted.
      threshold, delta: of a vocabulary: the smallest count that left a node, and the bound of the probability that a word
        of one client alone did; it is added to the Gaussian's delta.
      compositions: how often the worst-off client pays for it: 1, or 0 where it did not take part.
      distance: how many times the sensitivity the sums of two neighbours differ (`Traits.distance`).
    """

    round: int
    mechanism: str
    sampling_rate: float
    noise_multiplier: float
    clip_norm: float
    cap: int
    clients: int
    noise_std: int
    count_multiplier: float = 0.0
    compositions: int = 1
    threshold: int = 0
    delta: float = 0.0
    distance: float = 1.0

    @property
    def is_of_a_round(self) -> bool:
        """Whether it is the release of a round of training; a vocabulary is released before the first one."""
        return self.round > 0
