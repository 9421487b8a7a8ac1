"""From releases to epsilon, computed by Google's dp-accounting.

**Stated**: the privacy loss distribution (PLD) of the continuous Gaussian (`loss.py`), which bounds that of the discrete one
with a slightly smaller noise multiplier (`discrete.py` has the proof). Neighbours differ by a client that is added or
removed; a Poisson-sampled Gaussian is dominated by the pair N(0, z^2), (1 - q) N(0, z^2) + q N(1, z^2), in both directions
(Zhu, Dong, Wang 2022, https://arxiv.org/abs/2106.08567). Both directions are computed, and the larger epsilon is stated.

**Renyi DP at integer orders** is the older and looser bound. It is stated where it is smaller: for noise of a few lattice
steps, or a delta below the PLD's numerical error. It holds for the discrete Gaussian as it is: with the noise P0, the noise
P1 shifted by an integer vector s and an integer k, sum_x P0(x) (P1(x)/P0(x))^k = exp(k(k-1)|s|^2 / 2 sigma^2), since the
lattice shifted by k s is the lattice (Canonne, Kamath, Steinke 2020, proposition 5). The Renyi divergence of integer order
of a Poisson-sampled Gaussian is a binomial sum of these moments (Mironov, Talwar, Zhang 2019, section 3.3,
https://arxiv.org/abs/1908.10530), and x -> s - x swaps P0 and P1, so their theorem 5 holds too.

**Adaptive clipping**: sum and count come from the same sample and form one joint Gaussian (Andrew et al. 2021).
**Local**: a client's two possible updates differ by up to twice the bound, which halves the multiplier. There is no
amplification by sampling, because the server sees which clients reply.
**Vocabulary**: besides its Gaussian, its threshold costs `delta` (`vocabulary.py`).
"""

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from fedlm.privacy.discrete import LOG_RATIO, continuous_multiplier
from fedlm.privacy.loss import loss_epsilon

ORDERS = (*range(2, 65), 80, 96, 128, 192, 256, 512, 1024)
Method = Literal["stated", "pld", "rdp"]
_Key = tuple[tuple[float, ...], float]
_Groups = frozenset[tuple[_Key, int]]


def epsilon(releases: Iterable["Release"], delta: float, method: Method = "stated") -> float:
    """Returns epsilon at `delta` for the composition of all releases.

    Args:
      releases: past releases, or planned ones.
      delta: of the (epsilon, delta) guarantee.
      method: "pld" and "rdp" are both upper bounds; "stated" is the PLD's, or the smaller one where they are close.
    """
    counted = [r for r in releases if r.compositions]
    delta -= sum(r.delta for r in counted)  # spent by a vocabulary's threshold; deltas add under composition
    if delta <= 0 or any(r.noise_multiplier == 0 for r in counted):
        return math.inf
    return _epsilon(_groups(counted, Release.discrete), _groups(counted, Release.continuous), delta, method)


def _groups(releases: Iterable["Release"], key: Callable[["Release"], _Key]) -> _Groups:
    counts: Counter[_Key] = Counter()
    for release in releases:
        counts[key(release)] += release.compositions
    return frozenset(counts.items())


@functools.lru_cache(maxsize=4096)
def _epsilon(discrete: _Groups, continuous: _Groups, delta: float, method: Method) -> float:
    if method == "rdp":
        return _rdp(discrete, delta)
    by_loss = _pld(continuous, delta)
    if method == "pld" or not _may_be_loose(discrete, continuous, by_loss):
        return by_loss
    by_moments = _rdp(discrete, delta)
    return min(by_loss, by_moments) if by_moments > 0 else by_loss  # 0 where its divergences are lost in rounding


def _may_be_loose(discrete: _Groups, continuous: _Groups, by_loss: float) -> bool:
    """Returns whether the PLD has no finite bound, or pays more than 0.1 % of the noise for the proof."""
    if not math.isfinite(by_loss):
        return True
    nominal, bounding = (sum(n / _joint(parts) ** 2 for (parts, _), n in groups) for groups in (discrete, continuous))
    return bounding > 1.002 * nominal


def _joint(multipliers: tuple[float, ...]) -> float:
    """Returns the noise multiplier of Gaussians of one sample together, 1/z^2 = sum of 1/z_i^2; 0 if one has no noise."""
    return 1 / math.hypot(*(1 / z for z in multipliers)) if all(multipliers) else 0.0


def _pld(groups: _Groups, delta: float) -> float:
    counts: Counter[tuple[float, float]] = Counter()
    for (multipliers, rate), count in groups:
        counts[_joint(multipliers), rate] += count
    if any(z == 0 for z, _ in counts):
        return math.inf
    tau = LOG_RATIO * sum(counts.values())
    return loss_epsilon(frozenset(counts.items()), delta * math.exp(-tau)) + 2 * tau if counts else 0.0


def _rdp(groups: _Groups, delta: float) -> float:
    import dp_accounting as dp
    from absl import logging
    from dp_accounting import rdp

    if not groups:
        return 0.0
    accountant = rdp.RdpAccountant(ORDERS)
    for (multipliers, rate), count in groups:
        parts: list[Any] = [dp.GaussianDpEvent(z) for z in multipliers]
        inner = parts[0] if len(parts) == 1 else dp.ComposedDpEvent(parts)
        accountant.compose(inner if rate == 1 else dp.PoissonSampledDpEvent(rate, inner), count)
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # an extreme setting has a large epsilon, and no warning on the terminal
    try:
        return float(accountant.get_epsilon(delta))
    finally:
        logging.set_verbosity(before)


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

    def discrete(self) -> _Key:
        """Returns the noise multipliers over the distance between neighbours, and the sampling rate."""
        parts = (self.noise_multiplier, *([self.count_multiplier] if self.count_multiplier else []))
        return tuple(z / self.distance for z in parts), self.sampling_rate

    def continuous(self) -> _Key:
        """Returns the same for the continuous Gaussian that bounds the discrete one."""
        (total, *count), rate = self.discrete()
        count = [continuous_multiplier(z, self.count_multiplier, is_count=True) for z in count]
        return (continuous_multiplier(total, self.noise_std), *count), rate
