"""How far apart clients' text is beyond what a random deal of the same documents gives.

Samples of one distribution differ by chance, the more the smaller they are: in a perfectly IID deal the Jensen-Shannon
distance of clients to all text is far above 0. The excess is the distance minus its mean over random deals of the same
documents, in which every client keeps its number of documents (a permutation null: Good 2005, chapter 3).
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedlm.measure.statistics import LEVEL, Values
from fedlm.rng import Purpose, stream

NGRAM = 3
DEALS = 79  # random deals: (79 + 1) x 2.5 % is a whole number
MOST_NGRAMS = 1_000_000  # of the clients that are compared; in larger populations these are a random sample
_ROUNDING = 1e-12

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Excess:
    """The mean distance of clients to all text, and what of it a random deal does not explain.

    Attributes:
      distance: mean over the clients that have an n-gram; NaN for none.
      excess: distance minus its mean over random deals; 0 is an IID deal.
      low, high: its 95 % interval, from the quantiles of the random deals.
      without: clients that have no n-gram, so no distance.
      compared: clients that are compared.
    """

    distance: float
    excess: float
    low: float
    high: float
    without: int
    compared: int


def ngrams(texts: Iterable[str], size: int = NGRAM) -> Counter[str]:
    """Returns counts of the character n-grams of a client's documents; none runs over a document's end."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text[i : i + size] for i in range(len(text) - size + 1))
    return counts


def excess_distance(clients: Iterable[Sequence[str]], deals: int = DEALS) -> Excess:
    """Returns the excess n-gram distance of a population.

    Args:
      clients: each client's documents, gone through once; numbers are kept, no text.
      deals: random deals of the null.
    """
    known: dict[str, int] = {}
    documents = [[_numbered(text, known) for text in texts] for texts in clients]
    without = sum(not any(len(d) for d in own) for own in documents)
    chosen = _sample(documents)
    if not chosen:
        return Excess(math.nan, math.nan, math.nan, math.nan, without, 0)
    owners = np.repeat(np.arange(len(chosen)), [len(own) for own in chosen])
    flat = [document for own in chosen for document in own]
    seen = _mean_distance(flat, owners, len(known))
    rng = stream(len(flat), Purpose.PERMUTATION, 0, len(chosen))
    null = sorted(_mean_distance(flat, rng.permutation(owners), len(known)) for _ in range(deals))
    # Under the null the deal seen is one of deals + 1 that are equally likely: 2.5 % of them lie beyond each end.
    beyond = max(1, round(LEVEL / 2 * (deals + 1)))
    low, high = seen - null[-beyond], seen - null[beyond - 1]
    return Excess(seen, seen - math.fsum(null) / deals, low, high, without, len(chosen))


def _numbered(text: str, known: dict[str, int]) -> Places:
    """The n-grams of a document as numbers, (n-grams,)."""
    return np.array([known.setdefault(text[i : i + NGRAM], len(known)) for i in range(len(text) - NGRAM + 1)], np.int64)


def _sample(documents: Sequence[list[Places]]) -> list[list[Places]]:
    """The clients that are compared: those with an n-gram, in random order until they have MOST_NGRAMS."""
    some = [own for own in documents if any(len(d) for d in own)]
    sizes = [sum(map(len, own)) for own in some]
    if sum(sizes) <= MOST_NGRAMS:
        return some
    order = stream(len(some), Purpose.PERMUTATION, 0, 0).permutation(len(some))
    kept = order[np.cumsum([sizes[i] for i in order]) <= MOST_NGRAMS]
    return [some[i] for i in kept]


def _mean_distance(documents: Sequence[Places], owners: Places, size: int) -> float:
    """The mean Jensen-Shannon distance of the clients to all of them; clients that a deal leaves without n-grams are left out.

    Args:
      documents: the n-grams of each, (documents,) of (n-grams,).
      owners: the client of each document, (documents,).
      size: different n-grams.
    """
    client = np.repeat(owners, [len(d) for d in documents])
    key, count = np.unique(client * size + np.concatenate(documents), return_counts=True)
    client, ngram = key // size, key % size
    clients = int(owners.max()) + 1
    totals = np.bincount(client, count, clients)
    everyone = np.bincount(ngram, count, size)
    p, q = count / totals[client], (everyone / everyone.sum())[ngram]
    middle = (p + q) / 2
    terms = (p * np.log2(p / middle) + q * np.log2(q / middle)) / 2
    # An n-gram that a client lacks adds half of its share in all text.
    divergence = np.bincount(client, terms, clients) + (1 - np.bincount(client, q, clients)) / 2
    divergence[divergence < _ROUNDING] = 0  # the root of a rounding error would be seen
    found: Values = np.sqrt(divergence)[totals > 0]
    return float(found.mean())
