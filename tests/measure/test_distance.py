"""Excess distance: an IID deal has none, whatever its sizes; a skewed one has; clients without trigrams are counted."""

import math

import numpy as np
import pytest

from fedlm.measure.distance import excess_distance, ngrams
from fedlm.measure.heterogeneity import describe, jensen_shannon_distance
from fedlm.text.registry import vocabulary

LETTERS = np.array(list("etaoin shrdlu"))


def documents(count: int, seed: int, letters: np.ndarray = LETTERS) -> list[str]:  # type: ignore[type-arg]
    rng = np.random.default_rng(seed)
    chances = 1 / np.arange(1, len(letters) + 1)
    return ["".join(rng.choice(letters, rng.integers(20, 200), p=chances / chances.sum())) for _ in range(count)]


def dealt(texts: list[str], sizes: list[int]) -> list[list[str]]:
    rest = iter(texts)
    return [[next(rest) for _ in range(size)] for size in sizes]


@pytest.mark.parametrize(
    "sizes", [[6] * 20, [1] * 18 + [3, 99], [1] * 29 + [400]], ids=["even", "Gini 0.8", "Gini 0.9"]
)
def test_an_iid_deal_has_no_excess_though_its_distance_is_large(sizes: list[int]) -> None:
    covered = 0
    for seed in range(20):
        found = excess_distance(dealt(documents(sum(sizes), seed), sizes))
        covered += found.low <= 0 <= found.high
        assert found.distance > 0.2 and abs(found.excess) < 0.05 and found.low < found.excess < found.high
    assert covered >= 16  # of 20 at 95 %: fewer in 0.3 % of such tests


def test_clients_that_write_differently_have_an_excess() -> None:
    texts = documents(60, 0) + documents(60, 1, LETTERS[::-1])
    found = excess_distance(dealt(texts, [6] * 20))
    assert found.low > 0.05 and found.distance > found.excess
    rng = np.random.default_rng(2)
    mixed = excess_distance(dealt([texts[i] for i in rng.permutation(120)], [6] * 20))
    assert mixed.excess < found.excess / 5  # the same documents, dealt at random


def test_the_distance_by_hand() -> None:
    clients = [["abcabc", "xab"], ["xyz"], ["abc", "", "zzzz"]]
    population = ngrams(text for own in clients for text in own)
    each = [jensen_shannon_distance(ngrams(own), population) for own in clients]
    assert excess_distance(clients).distance == pytest.approx(math.fsum(each) / 3)


def test_clients_without_trigrams_are_counted() -> None:
    found = excess_distance([["ab"], [], ["abc"] * 3, ["abc"] * 2])
    assert (found.without, found.compared, found.distance, found.excess) == (2, 2, 0, 0)
    none = excess_distance([["ab"], []])
    assert none.without == 2 and none.compared == 0 and math.isnan(none.excess)
    assert excess_distance([]).without == 0
    described = describe([["ab"], ["abcd"]], [3, 5], vocabulary("chars"))
    assert described["without_ngrams"] == 1 and described["ngram_distance"] == 0
