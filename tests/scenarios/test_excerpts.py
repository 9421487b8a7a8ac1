"""Equal test sizes: the spread over clients is the model's and the text's, not that of how clients were cut."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from fedlm.measure.bootstrap import two_level
from fedlm.measure.fairness import OVER_CLIENTS, figures
from fedlm.measure.metric import ClientSums, RunEvidence
from fedlm.types import TextMetrics
from scenarios.runner.excerpts import equal_sums, excerpt

LETTERS = np.array(list("etaoin shrdlu"))
CHANCES = 1 / np.arange(1, len(LETTERS) + 1)


def speeches(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(LETTERS, rng.integers(1, 120), p=CHANCES / CHANCES.sum())) for _ in range(count)]


def bigram(texts: Sequence[str]) -> Callable[[Sequence[str]], list[TextMetrics]]:
    """A fixed model of pairs of symbols, ends included, with one count added to each."""
    pairs = Counter(pair for t in texts for pair in zip("<" + t, t + ">", strict=True))
    before = Counter(pair[0] for pair in pairs.elements())
    size = len(LETTERS) + 1

    def score(given: Sequence[str]) -> list[TextMetrics]:
        costs = [
            -math.fsum(math.log((pairs[a, b] + 1) / (before[a] + size)) for a, b in zip("<" + t, t + ">", strict=True))
            for t in given
        ]
        return [TextMetrics(cost, 0, len(t) + 1, len(t) + 1) for cost, t in zip(costs, given, strict=True)]

    return score


def dealt(texts: list[str], sizes: Sequence[int]) -> dict[int, list[str]]:
    rest = iter(texts)
    return {client: [next(rest) for _ in range(size)] for client, size in enumerate(sizes)}


def bits(sums: TextMetrics) -> float:
    return sums.loss_sum / math.log(2) / sums.characters


def test_an_excerpt_has_so_many_symbols_or_there_is_none() -> None:
    for documents in (["to be", "or not"], ["a"] * 9, ["x" * 100], ["", "abc", ""] * 5):
        for symbols in range(2, 10):
            pieces = excerpt(documents, symbols)
            assert pieces is not None and symbols - 1 <= sum(map(len, pieces)) + len(pieces) <= symbols
    assert excerpt(["a"], 5) is None and excerpt([], 2) is None


def test_another_deal_leaves_a_fixed_models_spread_within_its_interval() -> None:
    texts, score = speeches(1200, 0), bigram(speeches(400, 1))
    even, uneven = [30] * 40, [10] * 30 + [90] * 10  # the same 1,200 speeches
    found = {}
    for name, sizes in (("even", even), ("uneven", uneven)):
        held_out = dealt(texts, sizes)
        sums = equal_sums(held_out, 300, score)
        values = np.array([bits(s) for s in sums.values()])
        names = list(OVER_CLIENTS)
        intervals = two_level([values], list(OVER_CLIENTS.values()), crossed=False)
        found[name] = dict(zip(names, intervals, strict=True))
    for metric in ("worst_tenth", "best_tenth", "client_mean", "client_deviation"):
        one, other = found["even"][metric], found["uneven"][metric]
        assert one.low <= other.mean <= one.high or other.low <= one.mean <= other.high, metric
    # With all of their text, small clients alone make a spread
    whole = {c: score(own) for c, own in dealt(texts, [1] * 20 + [59] * 20).items()}
    unequal = np.array([bits(sum(own, TextMetrics())) for own in whole.values()])
    assert np.std(unequal, ddof=1) > 2 * found["even"]["client_deviation"].high


def test_a_client_of_one_character_is_not_above_the_unigram() -> None:
    def unigram(texts: Sequence[str]) -> list[TextMetrics]:
        return [
            TextMetrics(5 * math.log(2) * (len(t) + 1), 0, len(t) + 1, len(t) + 1) for t in texts
        ]  # five bits a symbol

    found = equal_sums({0: ["a"] * 10, 1: ["abcdefghijklmnopqrst"], 2: ["b"]}, 20, unigram)
    assert bits(found[0]) == pytest.approx(5) and bits(found[1]) == pytest.approx(5)  # and not 10 for the first
    assert 2 not in found


def test_clients_with_too_little_text_are_counted() -> None:
    sums = [TextMetrics(b * 10 * math.log(2), 0, 10, 10) for b in (1.0, 3.0, 100.0)]
    clients = tuple(ClientSums(s, equal=None if place == 2 else s) for place, s in enumerate(sums))
    measured = figures(RunEvidence(clients, has_equal=True))
    assert measured["clients_excluded"] == 1 and measured["worst_tenth"] == pytest.approx(3)
    nobody = figures(RunEvidence(clients[2:], has_equal=True))
    assert nobody["clients_excluded"] == 1 and math.isnan(nobody["worst_tenth"])
    assert figures(RunEvidence(clients))["worst_tenth"] == pytest.approx(100)  # a run outside a study
