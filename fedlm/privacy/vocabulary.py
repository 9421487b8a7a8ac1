"""Words from private text under differential privacy: what a node counts, noises and keeps back, and what that costs.

Each client adds 1 to at most `words` counters, so counts move by at most sqrt(words) in L2. Every counter that somebody
used gets discrete Gaussian noise, and leaves the node only at the threshold or above (Korolova et al. 2009; with Gaussian
noise: Gopi et al. 2020, https://arxiv.org/abs/2002.09745, section 4). Which counters exist is not private by noise: a word of
one client alone stands at 1 plus noise, and the threshold T is the smallest with words * P(1 + noise >= T) <= delta_words.

**Account.** Take the words away that only the client in question uses: what is left is a Gaussian of L2 sensitivity
sqrt(words). With probability 1 - delta_words none of those words appears. So the release is (epsilon, delta + delta_words)
private for adding or removing a client, if the Gaussian is (epsilon, delta) private. With a public list of candidates every
counter exists whatever the text, there is no threshold, and delta_words is 0.
"""

import json
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache

import numpy as np

from fedlm.errors import ConfigError
from fedlm.privacy.accounting import ORDERS, Release
from fedlm.privacy.noise import Source, discrete_gaussian
from fedlm.rng import Purpose, stream
from fedlm.spec import Spec, parse_spec
from fedlm.text.learned import words_of

NAME = "private"
DEFAULTS: dict[str, int | float | str] = {
    "size": 2000,
    "epsilon": 1.0,
    "delta": 1e-6,
    "words": 50,
    "candidates": "",
}


@dataclass(frozen=True)
class WordRelease:
    """How words are counted; all of it is public and follows from the spec.

    Attributes:
      words: counters that a client adds to, at most.
      epsilon, delta: the whole cost; half of delta is `delta_words`, unless there are candidates.
      noise_std: whole-number standard deviation of the noise on a counter.
      threshold: the smallest noised count that leaves the node; 0 with candidates, where all leave.
      delta_words: bound of the probability that any word of one client alone leaves the node.
    """

    words: int
    epsilon: float
    delta: float
    noise_std: int
    threshold: int
    delta_words: float

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation of the noise over the L2 sensitivity."""
        return self.noise_std / math.sqrt(self.words)

    @property
    def single_word(self) -> float:
        """Probability that a word which one client alone uses leaves the node; 0 with candidates (it is public)."""
        return tail(self.noise_std, self.threshold - 1) if self.threshold else 0.0

    def statement(self) -> str:
        """Returns the guarantee in one sentence."""
        rule = f"threshold {self.threshold}" if self.threshold else "a public list of candidates"
        return (
            f"({self.epsilon:g}, {self.delta:g})-differential privacy for adding or removing any one client with all its "
            f"text, against the server and whoever sees the vocabulary: at most {self.words} words a client, discrete "
            f"Gaussian noise of standard deviation {self.noise_std} on each count, {rule}"
            + (
                f"; a word of one client alone appears with probability {self.single_word:.2g}"
                if self.threshold
                else ""
            )
        )


def check_private(spec: str) -> Spec:
    """Returns the parsed spec `private(size=, epsilon=, delta=, words=, candidates=)` with every option.

    Raises:
      ConfigError: an option is unknown or out of range.
    """
    parsed = parse_spec(spec)
    for name, value in parsed.options.items():
        if name not in DEFAULTS:
            raise ConfigError(f"The vocabulary private has no option {name!r}; its options are: {', '.join(DEFAULTS)}.")
        kind, given = type(DEFAULTS[name]), float if type(value) is int and name == "epsilon" else type(value)
        if kind is not given:
            raise ConfigError(f"The option {name}={value!r} of the vocabulary private is not a {kind.__name__}.")
    options = {**DEFAULTS, **parsed.options}
    right = options["epsilon"] > 0 and 0 < options["delta"] < 1 and 1 <= options["words"] <= 10_000
    if not right or not 45 <= options["size"] <= 1_000_000:
        raise ConfigError(
            "The vocabulary private takes epsilon > 0, delta between 0 and 1, words from 1 to 10,000 and size from 45."
        )
    return Spec(parsed.name, options)


@cache
def plan_words(epsilon: float, delta: float, words: int, candidates: bool = False) -> WordRelease:
    """Returns the release that costs (epsilon, delta), by dp-accounting at integer Renyi orders (see `accounting.py`).

    Raises:
      ConfigError: no noise does it.
    """
    import dp_accounting as dp
    from dp_accounting import rdp

    delta_words = 0.0 if candidates else delta / 2
    try:
        multiplier = dp.calibrate_dp_mechanism(
            lambda: rdp.RdpAccountant(ORDERS),
            dp.GaussianDpEvent,
            epsilon,
            delta - delta_words,
            bracket_interval=dp.LowerEndpointAndGuess(0.01, 1.0),
            tol=1e-4,
        )
    except ValueError:
        raise ConfigError(f"No noise gives a vocabulary epsilon={epsilon:g} at delta={delta:g}.") from None
    std = max(1, math.ceil(float(multiplier) * math.sqrt(words)))
    threshold = 0 if candidates else 1 + smallest_beyond(std, delta_words / words)
    return WordRelease(words, epsilon, delta, std, threshold, delta_words)


def ledger_release(plan: WordRelease, distance: float = 1.0) -> Release:
    """Returns the line of a run's ledger.

    Args:
      plan: how words are counted.
      distance: `Traits.distance` of the run's mechanism. Where neighbours differ by a whole client's text there are two
        sets of words, so the sensitivity is sqrt(2) times as large.
    """
    return Release(
        round=0,
        mechanism="vocabulary",
        sampling_rate=1.0,
        noise_multiplier=plan.noise_multiplier / math.sqrt(distance),
        clip_norm=math.sqrt(plan.words),
        cap=1,
        clients=0,
        noise_std=plan.noise_std,
        threshold=plan.threshold,
        delta=plan.delta_words,
    )


def charged_before(content: str) -> WordRelease | None:
    """Returns what the content of a vocabulary's file says that it cost; None if it was not learned privately."""
    about = json.loads(content).get("privacy") if content else None
    try:
        return WordRelease(**{f.name: about[f.name] for f in fields(WordRelease)}) if about else None
    except (KeyError, TypeError):
        raise ConfigError("The vocabulary says that it was learned privately, but not how; learn it anew.") from None


def tail(std: int, least: int) -> float:
    """Returns P(N >= least) of the discrete Gaussian, from its own sums.

    >>> round(tail(10, 1) + tail(10, 0), 12)  # symmetric
    1.0
    """
    reach = 40 * std
    weights = np.exp(-((np.arange(-reach, reach + 1) / std) ** 2) / 2)
    place = min(max(least + reach, 0), len(weights))
    return math.fsum(weights[place:]) / math.fsum(weights)


def smallest_beyond(std: int, probability: float) -> int:
    """Returns the smallest m with P(N >= m) <= probability."""
    low, high = 0, 40 * std
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if tail(std, middle) <= probability else (middle + 1, high)
    return low


def contribution(documents: Iterable[str], words: int, candidates: frozenset[str] = frozenset()) -> list[str]:
    """Returns the words of a client that are counted: its most used ones, `words` of them at most, each once.

    Words used equally often come in an order of the client's own, drawn from its text: one order for all clients would
    count the same words everywhere and never the others.

    Args:
      documents: the client's text.
      words: how many at most.
      candidates: a public list; other words are not counted. Empty: any word is.
    """
    counts = Counter(w for d in documents for w in words_of(d) if not candidates or w in candidates)
    names = sorted(counts)
    order = stream(zlib.crc32("\n".join(names).encode("utf-8", "replace")), Purpose.WORD_ORDER).permutation(len(names))
    return [names[i] for i in sorted(order, key=lambda i: -counts[names[i]])[:words]]


def noised_counts(
    contributions: Iterable[Sequence[str]], release: WordRelease, source: Source, candidates: Sequence[str] = ()
) -> dict[str, int]:
    """Returns the noised counts that may leave a node.

    Args:
      contributions: of each client of the node, see `contribution`.
      release: noise and threshold.
      source: random bytes; anything but the operating system's gives no guarantee.
      candidates: the public list; all of it is released.

    Raises:
      ValueError: a client adds to more counters than the release covers.
    """
    counts: Counter[str] = Counter(dict.fromkeys(candidates, 0))
    for words in contributions:
        if len(words) > release.words or len(set(words)) < len(words):
            raise ValueError(f"A client adds to {len(words)} counters; {release.words} different ones are covered.")
        counts.update(words)
    names = sorted(counts)
    noise = discrete_gaussian(release.noise_std, len(names), source)
    noised = {w: counts[w] + int(n) for w, n in zip(names, noise, strict=True)}
    return noised if candidates else {w: n for w, n in noised.items() if n >= release.threshold}


def merged(nodes: Iterable[Mapping[str, int]], room: int) -> list[str]:
    """Returns the words of all nodes by their noised counts together, `room` at most. Nothing private is read here.

    >>> merged([{" a": 9, " b": 5}, {" b": 6, " c": 3}], 2)
    [' b', ' a']
    """
    total: Counter[str] = Counter()
    for counts in nodes:
        total.update(counts)
    return sorted((w for w, n in total.items() if n > 0), key=lambda w: (-total[w], w))[:room]
