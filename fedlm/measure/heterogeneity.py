"""How different the clients' data is, before anything is trained: a result holds for data of similar heterogeneity."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fedlm.measure.distance import excess_distance
from fedlm.measure.fairness import effective_number, gini
from fedlm.measure.metric import Metric
from fedlm.text.vocabulary import UNKNOWN, Vocabulary

LABEL_ENTROPY = "label_entropy:"  # before the label's name
METRICS = (
    Metric("clients", "clients", describes_data=True),
    Metric("left_out", "clients left out", describes_data=True),
    Metric("tokens", "training tokens", describes_data=True),
    Metric("size_gini", "Gini coefficient of client sizes", describes_data=True),
    Metric("size_effective_number", "effective number of clients", describes_data=True),
    Metric("ngram_distance", "Jensen-Shannon distance of trigrams", "0 to 1", describes_data=True),
    Metric("ngram_excess", "excess of that distance over random deals of the documents", describes_data=True),
    Metric("ngram_excess_low", "lower end of its 95 % interval", describes_data=True),
    Metric("ngram_excess_high", "upper end of its 95 % interval", describes_data=True),
    Metric("without_ngrams", "clients without a trigram", describes_data=True),
    Metric("unknown_share", "out-of-vocabulary symbols", "fraction", describes_data=True),
    Metric(LABEL_ENTROPY, "entropy of {} within a client", "bits", describes_data=True),
)


def jensen_shannon_distance(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Returns the square root of the Jensen-Shannon divergence in bits: 0 the same, 1 nothing in common; NaN if one is empty.

    Lin 1991, https://doi.org/10.1109/18.61115; the root is a metric (Endres and Schindelin 2003).

    >>> jensen_shannon_distance({"a": 1}, {"b": 1})
    1.0
    """
    total_a, total_b = sum(a.values()), sum(b.values())
    if not total_a or not total_b:
        return math.nan
    rest = total_b - sum(b.get(key, 0) for key in a)  # of keys that `a` lacks: each adds half its share of b
    terms = [rest / total_b / 2]
    for key, count in a.items():
        p, q = count / total_a, b.get(key, 0) / total_b
        middle = (p + q) / 2
        terms += [x * math.log2(x / middle) / 2 for x in (p, q) if x > 0]
    return math.sqrt(max(math.fsum(terms), 0.0))  # the exact sum: keys have no order


def unknown_share(texts: Iterable[str], vocab: Vocabulary) -> float:
    """Returns the share of a client's symbols that the vocabulary does not have; NaN for no text."""
    ids = [vocab.encode(text) for text in texts]
    total = sum(map(len, ids))
    return sum(int(np.sum(i == UNKNOWN)) for i in ids) / total if total else math.nan


def label_entropy(labels: Iterable[str]) -> float:
    """Returns the entropy in bits of a client's labels: 0 where all are one.

    >>> label_entropy(["comedy", "tragedy"])
    1.0
    """
    counts = Counter(labels)
    total = sum(counts.values())
    return sum(n / total * math.log2(total / n) for n in counts.values())


def describe_sizes(tokens: npt.ArrayLike) -> dict[str, float]:
    """Returns what follows from the clients' training targets: the number of clients, and how uneven their sizes are."""
    sizes = np.asarray(tokens, np.float64)
    return {
        "clients": float(len(sizes)),
        "tokens": float(sizes.sum()),
        "size_gini": gini(sizes),
        "size_effective_number": effective_number(sizes),
    }


def describe(clients: Iterable[Sequence[str]], tokens: npt.ArrayLike, vocab: Vocabulary) -> dict[str, float]:
    """Returns the heterogeneity of a population; means are over clients, every client counts once.

    Args:
      clients: each client's training documents; gone through twice, so that memory need not hold all text.
      tokens: each client's training targets.
      vocab: of the model.
    """
    unknown = [unknown_share(texts, vocab) for texts in clients]
    found = excess_distance(clients)
    return {
        **describe_sizes(tokens),
        "ngram_distance": found.distance,
        "ngram_excess": found.excess,
        "ngram_excess_low": found.low,
        "ngram_excess_high": found.high,
        "without_ngrams": float(found.without),
        "unknown_share": _mean_of_known(unknown),
    }


def _mean_of_known(values: Iterable[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return math.fsum(known) / len(known) if known else math.nan


class LabelEntropies:
    """Collects, client by client, how mixed the labels of its documents are; keeps sums, no labels."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._clients: Counter[str] = Counter()

    def add(self, labels: Sequence[Mapping[str, str]]) -> None:
        """Takes the labels of one client's documents."""
        for key in sorted({k for each in labels for k in each}):
            self._clients[key] += 1
            self._sums[key] = self._sums.get(key, 0.0) + label_entropy(each[key] for each in labels if key in each)

    def means(self, *, named: bool) -> dict[str, float]:
        """Returns, for each label that two clients or more have, the mean over them of a client's entropy in bits.

        Args:
          named: by the labels' names; otherwise by their place in alphabetical order, because the label names of
            a private corpus may be private too.
        """
        return {
            key if named else unnamed: self._sums[key] / self._clients[key] for unnamed, key in self.names().items()
        }

    def names(self) -> dict[str, str]:
        """Returns the names of these labels by what stands for them where names are not told."""
        keys = sorted(key for key in self._sums if self._clients[key] > 1)
        return {f"label {place}": key for place, key in enumerate(keys, 1)}
