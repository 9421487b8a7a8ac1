"""How different the clients' data is, before anything is trained: so that a result can be carried to other data."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fedlm.data.tokens import UNKNOWN, Vocabulary
from fedlm.measure.fairness import effective_number, gini

NGRAM = 3


def ngrams(texts: Iterable[str], size: int = NGRAM) -> Counter[str]:
    """Returns counts of the character n-grams of a client's documents; none runs over a document's end."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text[i : i + size] for i in range(len(text) - size + 1))
    return counts


def jensen_shannon_distance(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Returns the square root of the Jensen-Shannon divergence in bits: 0 the same, 1 nothing in common; NaN if one is empty.

    Lin 1991, https://doi.org/10.1109/18.61115; the root is a metric (Endres and Schindelin 2003).

    >>> jensen_shannon_distance({"a": 1}, {"b": 1})
    1.0
    """
    total_a, total_b = sum(a.values()), sum(b.values())
    if not total_a or not total_b:
        return math.nan
    divergence = 0.0
    for key in a.keys() | b.keys():
        p, q = a.get(key, 0) / total_a, b.get(key, 0) / total_b
        middle = (p + q) / 2
        divergence += sum(x * math.log2(x / middle) for x in (p, q) if x > 0) / 2
    return math.sqrt(max(divergence, 0.0))


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


def describe(clients: Sequence[Sequence[str]], tokens: Sequence[int], vocab: Vocabulary) -> dict[str, float]:
    """Returns the heterogeneity of a population; means are over clients, every client counts once.

    Args:
      clients: each client's training documents.
      tokens: each client's training targets.
      vocab: of the model.
    """
    sizes = np.asarray(tokens, np.float64)
    counts = [ngrams(texts) for texts in clients]
    population = sum(counts, Counter())
    distances = [jensen_shannon_distance(c, population) for c in counts if c]
    unknown = [s for s in (unknown_share(texts, vocab) for texts in clients) if not math.isnan(s)]
    return {
        "clients": float(len(sizes)),
        "tokens": float(sizes.sum()),
        "size_gini": gini(sizes),
        "size_effective_number": effective_number(sizes),
        "ngram_distance": float(np.mean(distances)) if distances else math.nan,
        "unknown_share": float(np.mean(unknown)) if unknown else math.nan,
    }
