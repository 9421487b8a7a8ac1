"""From releases to epsilon, computed by Google's dp-accounting.

**Why the results for the continuous Gaussian hold for the discrete one.** The noise is discrete Gaussian on Z^d and a client shifts
the sum by an integer vector s with |s| <= sensitivity. Let P0 be the noise and P1 the noise shifted by s. For an integer
k, sum_x P0(x) (P1(x)/P0(x))^k = exp(k(k-1)|s|^2 / 2 sigma^2) * theta(k s) / theta(0), where theta(m) sums
exp(-|x-m|^2 / 2 sigma^2) over the lattice. Since k s is a lattice point, the quotient is 1 and the moment equals the
continuous one (Canonne, Kamath, Steinke 2020, proposition 5). The Renyi divergence of integer order alpha of a
Poisson-sampled Gaussian is a binomial sum of exactly these moments (Mironov, Talwar, Zhang 2019, section 3.3,
https://arxiv.org/abs/1908.10530). The map x -> s - x swaps P0 and P1 on the lattice, so their theorem 5 (adding a client is
the worse direction) holds as well. RDP at **integer orders** therefore carries over, and no other orders are used. A PLD
bound is tighter, but it holds for the continuous mechanism only, and is labelled as such.

**Adaptive clipping**: sum and count come from the same sample and form one joint Gaussian (Andrew et al. 2021).
**Local**: a client's two possible updates differ by up to twice the bound, which halves the multiplier. There is no
amplification by sampling, because the server sees which clients reply.
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
    """Returns all that the cost of a release depends on: its noise multipliers and its sampling rate."""
    parts = (release.noise_multiplier, *([release.count_multiplier] if release.count_multiplier else []))
    parts = tuple(p / release.distance for p in parts)  # noise over distance * sensitivity
    return parts, release.sampling_rate


def _event(key: _Key, method: Method) -> Any:
    import dp_accounting as dp

    multipliers, rate = key
    if method == "pld":  # PLDAccountant takes no composition inside a sampled event: merge by 1/z^2 = sum of 1/z_i^2
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
        return math.inf  # a release without noise
    accountant = rdp.RdpAccountant(ORDERS) if method == "rdp" else pld.PLDAccountant()
    for key, count in groups:
        accountant.compose(_event(key, method), count)
    return float(accountant.get_epsilon(delta))


def epsilon(releases: Iterable["Release"], delta: float, method: Method = "rdp") -> float:
    """Returns epsilon at `delta` for the composition of all releases.

    Args:
      releases: past releases, or planned ones.
      delta: of the (epsilon, delta) guarantee.
      method: "rdp" holds for the discrete noise; "pld" gives the tighter bound of the continuous mechanism.
    """
    counts: Counter[_Key] = Counter()
    for release in releases:
        counts[_key(release)] += release.compositions
        delta -= release.delta  # spent by a vocabulary's threshold; deltas add under composition
    if delta <= 0:
        return math.inf
    return _epsilon(frozenset((k, n) for k, n in counts.items() if n), delta, method)


def plan(*, target: float, delta: float, rounds: int, sampling_rate: float, method: Method = "rdp") -> float:
    """Returns the smallest noise multiplier (to 1e-4) at which `rounds` Poisson-sampled rounds cost at most epsilon `target`.

    Raises:
      ValueError: an argument is out of range, or even a noise multiplier of 0.2 costs less than `target`.
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
            f"Epsilon {target:g} needs a noise multiplier below 0.2, which is not supported: choose a smaller epsilon."
        ) from None
    return float(found)


@dataclass(frozen=True)
class Release:
    """One noised sum that a mechanism released.

    Attributes:
      round: the round; it occurs twice in the ledger if it had to be repeated.
      mechanism: the name of a file of `fedlm/privacy/mechanisms/`, or "vocabulary".
      sampling_rate: the probability with which each client took part.
      noise_multiplier: standard deviation of the noise on the sum of updates, over the sensitivity.
      clip_norm: the bound C on an update.
      cap: the largest weight of a client.
      clients: the expected number of clients; the realised number is not public.
      noise_std: standard deviation of the noise on the integer sum.
      count_multiplier: the noise multiplier of the count of updates below the clip norm; 0 without such a count.
      threshold, delta: for a vocabulary: the smallest count that left a node, and a bound on the probability that a word
        of only one client did. It adds to the Gaussian's delta.
      compositions: how many times the release counts for the client with the largest cost: 1, or 0 if it did not take part.
      distance: the distance between the sums of neighbours, in units of the sensitivity (`Traits.distance`).
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
        """Whether a training round released it; a vocabulary is released before the first round."""
        return self.round > 0
