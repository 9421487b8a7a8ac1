"""n-grams: hand-worked probabilities, sums to one, and what any text gives."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlm.measure.above_ngram import not_passed
from fedlm.measure.ngram import WittenBell, _places
from fedlm.measure.text import summary
from fedlm.text.registry import vocabulary
from fedlm.text.vocabulary import SPECIALS, Vocabulary
from fedlm.types import TextMetrics

AB = Vocabulary("ab", ("",) * SPECIALS + ("a", "b"))  # targets: end, unknown, a, b


def test_by_hand() -> None:
    """Training text "ab": a, b and the end once each. P_1(a) = (1 + 3/4) / 6; after a only b has followed."""
    model = WittenBell(["ab"], AB, 2)
    unigram, bigram = model.score(["ab"])
    p1 = (1 + 3 / 4) / 6
    assert unigram.loss_sum == pytest.approx(-3 * math.log(p1))
    assert bigram.loss_sum == pytest.approx(-3 * math.log((1 + p1) / 2))  # one follower of START, a and b each
    assert (unigram.tokens, unigram.characters, unigram.correct) == (3, 3, 0)


def test_an_unknown_history_changes_nothing() -> None:
    model = WittenBell(["ab"], AB, 3)
    unigram, bigram, trigram = (m.loss_sum for m in model.score(["b"]))
    p1 = (1 + 3 / 4) / 6
    # START was never followed by b; b was followed by the end, but never after START b.
    assert bigram == pytest.approx(-math.log(p1 / 2) - math.log((1 + p1) / 2))
    assert trigram == pytest.approx(-math.log(p1 / 2 / 2) - math.log((1 + p1) / 2))
    assert unigram == pytest.approx(-2 * math.log(p1))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text("ab", max_size=6), max_size=4), st.text("ab", max_size=5))
def test_probabilities_sum_to_one(texts: list[str], before: str) -> None:
    """The probability of every continuation by one symbol, and of the end, of any text."""
    model = WittenBell(texts, AB, 4)
    for order in range(4):
        total = sum(_next(model, before, symbol, order) for symbol in ("a", "b", "?", None))
        assert total == pytest.approx(1)


def _next(model: WittenBell, before: str, symbol: str | None, order: int) -> float:
    """P of a symbol after a text, of its end (None), or of a symbol that the vocabulary does not have."""
    stream, _ = model._stream([before + (symbol or "")])
    targets = np.array([len(before) + 1])
    probability, history = np.full(1, 1 / 4), np.zeros(1, np.int64)
    for n, level in enumerate(model._levels[: order + 1], 1):
        history = _places(level.histories, np.where(history < 0, -1, model._longer(history, stream, targets, n)))
        probability = model._interpolated(level, history, stream[targets], probability)
    return float(probability[0])


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_nothing_to_learn_from(texts: list[str]) -> None:
    found = WittenBell(texts, AB, 3).score(["ab", ""])
    assert all(math.isfinite(m.loss_sum) and m.loss_sum > 0 for m in found)
    assert WittenBell(texts, AB, 3).score([]) == [TextMetrics()] * 3


def test_documents_do_not_see_each_other() -> None:
    """Whatever the order and the neighbours of documents, their sums are the same."""
    model = WittenBell(["abba", "b", "aab"], AB, 5)
    apart = [model.score([t]) for t in ("ab", "bba")]
    together = model.score(["bba", "ab"])
    for order in range(5):
        assert together[order].loss_sum == pytest.approx(apart[0][order].loss_sum + apart[1][order].loss_sum)


def test_more_order_helps_on_regular_text() -> None:
    bits = [summary(m)["bits_per_char"] for m in WittenBell(["ab" * 50] * 5, AB, 3).score(["ab" * 20])]
    assert bits[0] > 0.9 > 0.2 > bits[1]


def test_unknown_text_is_charged() -> None:
    chars = vocabulary("chars")
    known, unknown = (WittenBell(["abab"], chars, 1).score([t])[0] for t in ("ab", "да"))
    assert unknown.loss_sum > known.loss_sum + 4 * 8 * math.log(2)


def test_a_report_says_how_many_models_have_not_passed_the_5_gram() -> None:
    assert not_passed([{"above_ngram": -0.1}, {"bits_per_char": 3.0}]) == ""
    assert not_passed([{"above_ngram": -0.1}, {"above_ngram": 0.0}, {"above_ngram": 2.0}]).startswith("In 2 of 3 runs")
