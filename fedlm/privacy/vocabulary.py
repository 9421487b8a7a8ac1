"""A vocabulary of words from private text under differential privacy: counting, noise, threshold and cost.

Each client adds 1 to at most `words` counters, so it changes the counts by at most sqrt(words) in L2. Every counter that is
not zero gets discrete Gaussian noise, and leaves the node only if it reaches the threshold (Korolova et al. 2009; with
Gaussian noise: Gopi et al. 2020, https://arxiv.org/abs/2002.09745, section 4). Noise does not hide which counters exist: a
word that only one client uses has the count 1 + noise. The threshold T is therefore the smallest integer with
words * P(1 + noise >= T) <= delta_words.

**Accounting.** Let D be the clients without one client c, and D' those with it. The words of D' are those of D and at most
`words` new ones, which only c uses. The release is post-processing of two mechanisms with independent noise:

- the noised counts of the words of D: a Gaussian mechanism of L2 sensitivity sqrt(words);
- which new words reach the threshold: none under D, and any under D' with a probability p <= delta_words. The two laws have
  the total variation distance p, so this one is (0, delta_words)-private, in both directions.

Costs add (basic composition, whatever later releases do with the result): the release is (epsilon, delta + delta_words)-private
for adding or removing a client if the Gaussian mechanism is (epsilon, delta)-private. One must not conclude this from the
distance alone: P(S) <= e^epsilon (P'(S) + delta_words) + delta has a factor e^epsilon too many. If a client's text is replaced,
both data sets may have new words, and the distance is the larger of two such probabilities.
With a public list of candidates, the same counters exist whatever the text: there is no threshold, and delta_words is 0.
"""

import json
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache

import numpy as np

from fedlm.errors import ConfigError, UnknownOption, check_number
from fedlm.plugins.options import type_problem
from fedlm.privacy.accounting import Release
from fedlm.privacy.accounting import epsilon as cost
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
    """How words are counted; all of it is public and derived from the spec.

    Attributes:
      words: the largest number of counters that a client adds to.
      epsilon, delta: the total cost; half of delta is `delta_words`, unless there are candidates.
      noise_std: standard deviation of the noise on a counter, a whole number.
      threshold: the smallest noised count that leaves the node; 0 with candidates, which all leave it.
      delta_words: bound on the probability that any word that only one client uses leaves the node.
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
        """Probability that a given word that only one client uses leaves the node; 0 with candidates, which are public."""
        return tail(self.noise_std, self.threshold - 1) if self.threshold else 0.0

    def statement(self) -> str:
        """Returns the guarantee in one sentence."""
        rule = f"threshold {self.threshold}" if self.threshold else "a public list of candidates"
        return (
            f"({self.epsilon:g}, {self.delta:g})-differential privacy for adding or removing any one client with all its "
            f"text, against the server and whoever sees the vocabulary: at most {self.words} words per client, discrete "
            f"Gaussian noise of standard deviation {self.noise_std} on each count, {rule}"
            + (
                f"; a word that only one client uses appears with probability {self.single_word:.2g}"
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
            raise UnknownOption(
                name, f"The vocabulary private has no option {name!r}; its options are: {', '.join(DEFAULTS)}."
            )
        if problem := type_problem(value, type(DEFAULTS[name])):
            raise ConfigError(f"The option {name}={value!r} of the vocabulary private {problem}.")
    options = {**DEFAULTS, **parsed.options}
    check_number("epsilon of the vocabulary private", options["epsilon"], gt=0)
    check_number("delta of the vocabulary private", options["delta"], gt=0, lt=1)
    check_number("words of the vocabulary private", options["words"], ge=1, le=10_000)
    check_number("size of the vocabulary private", options["size"], ge=45, le=1_000_000)
    return Spec(parsed.name, options)


@cache
def plan_words(epsilon: float, delta: float, words: int, candidates: bool = False) -> WordRelease:
    """Returns the release that costs (epsilon, delta), with the smallest whole standard deviation.

    Raises:
      ConfigError: no noise reaches this cost.
    """
    from dp_accounting import get_sigma_gaussian

    delta_words = 0.0 if candidates else delta / 2
    if not (0 < epsilon < math.inf and 0 < delta < 1):
        raise ConfigError(f"No noise gives a vocabulary epsilon={epsilon:g} at delta={delta:g}: choose other values.")
    std = max(1, math.ceil(float(get_sigma_gaussian(epsilon, delta - delta_words)) * math.sqrt(words)))
    # What a continuous Gaussian needs; a discrete one of a few steps needs a little more.
    while cost([ledger_release(WordRelease(words, epsilon, delta, std, 0, delta_words))], delta) > epsilon:
        std += 1
    # words * P(1 + N >= T) <= delta_words, so T - 1 is the smallest m with P(N >= m) <= delta_words / words
    threshold = 0 if candidates else 1 + smallest_beyond(std, delta_words / words)
    return WordRelease(words, epsilon, delta, std, threshold, delta_words)


def ledger_release(plan: WordRelease, distance: float = 1.0) -> Release:
    """Returns the release for a run's ledger.

    Args:
      plan: how words are counted.
      distance: `Traits.distance` of the run's mechanism. Replacing a client's text (distance 2) changes up to 2 * words
        counters by 1, so the sensitivity grows by sqrt(2).
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
    """Returns the cost recorded in the content of a vocabulary file; None if the vocabulary was not learned privately."""
    about = json.loads(content).get("privacy") if content else None
    try:
        return WordRelease(**{f.name: about[f.name] for f in fields(WordRelease)}) if about else None
    except (KeyError, TypeError):
        raise ConfigError(
            "The vocabulary file does not say how privately it was learned: learn the vocabulary again."
        ) from None


def tail(std: int, least: int) -> float:
    """Returns P(N >= least) for the discrete Gaussian, by summing its probabilities.

    >>> round(tail(10, 1) + tail(10, 0), 12)  # symmetric
    1.0
    """
    reach = 40 * std  # exp(-800) beyond: nothing in float64
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
    """Returns the words of a client that are counted: its `words` most frequent ones, each once.

    Ties are broken in an order seeded by the client's own text. With one order for all clients, the same words would be
    counted everywhere, and the others never.

    Args:
      documents: the client's text.
      words: the largest number of words.
      candidates: a public list; other words are not counted. If empty, all words are.
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
      contributions: one per client of the node; see `contribution`.
      release: noise and threshold.
      source: of random bytes; only the operating system's gives a guarantee.
      candidates: the public list; all of its counts are released.

    Raises:
      ValueError: a client adds to more counters than the release covers.
    """
    counts: Counter[str] = Counter(dict.fromkeys(candidates, 0))
    for words in contributions:
        if len(words) > release.words or len(set(words)) < len(words):
            raise ValueError(
                f"A client adds to {len(words)} counters; the noise covers {release.words} different ones."
            )
        counts.update(words)
    names = sorted(counts)
    noise = discrete_gaussian(release.noise_std, len(names), source)
    noised = {w: counts[w] + int(n) for w, n in zip(names, noise, strict=True)}
    return noised if candidates else {w: n for w, n in noised.items() if n >= release.threshold}


def merged(nodes: Iterable[Mapping[str, int]], limit: int) -> list[str]:
    """Returns the `limit` words with the largest total noised counts over all nodes. It reads no private text.

    >>> merged([{" a": 9, " b": 5}, {" b": 6, " c": 3}], 2)
    [' b', ' a']
    """
    total: Counter[str] = Counter()
    for counts in nodes:
        total.update(counts)
    return sorted((w for w, n in total.items() if n > 0), key=lambda w: (-total[w], w))[:limit]
