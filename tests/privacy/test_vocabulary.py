"""A private vocabulary: sensitivity, threshold, account, what it finds, and what it never shows."""

import math
import os
from collections import Counter

import dp_accounting as dp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlm.errors import ConfigError
from fedlm.privacy.accounting import epsilon
from fedlm.privacy.noise import discrete_gaussian
from fedlm.privacy.vocabulary import (
    WordRelease,
    charged_before,
    check_private,
    contribution,
    ledger_release,
    merged,
    noised_counts,
    plan_words,
    smallest_beyond,
    tail,
)

TEXTS = st.lists(st.text(alphabet="ab c.d\ne'", max_size=60), max_size=5)


@settings(deadline=None)
@given(
    st.lists(TEXTS, max_size=6), TEXTS, st.integers(1, 7), st.sampled_from([frozenset(), frozenset({" a", "b", "."})])
)
def test_one_client_moves_the_counts_by_at_most_the_root_of_its_words(
    others: list[list[str]], one: list[str], words: int, candidates: frozenset[str]
) -> None:
    def counts(clients: list[list[str]]) -> Counter[str]:
        return Counter(w for documents in clients for w in contribution(documents, words, candidates))

    difference = counts([*others, one])
    difference.subtract(counts(others))
    assert math.sqrt(sum(n * n for n in difference.values())) <= math.sqrt(words)
    assert not candidates or set(difference) <= candidates


def test_a_client_gives_its_most_used_words_and_ties_are_its_own() -> None:
    assert contribution(["a b b c c", " c d"], 2) == [" c", " b"]
    many = [contribution([" ".join(f"{x}{i}" for x in "abcdefgh")], 2)[0][1] for i in range(40)]
    assert len(set(many)) > 3  # no word wins everywhere


def test_more_than_was_planned_is_refused() -> None:
    plan = plan_words(1.0, 1e-6, 2)
    for words in (["a", "b", "c"], ["a", "a"]):
        with pytest.raises(ValueError, match="A client adds to"):
            noised_counts([words], plan, os.urandom)


@pytest.mark.parametrize(("cost", "words"), [(1.0, 50), (8.0, 1), (0.3, 400)])
@pytest.mark.parametrize("candidates", [False, True])
def test_the_account_is_that_of_a_gaussian_and_the_thresholds_delta(cost: float, words: int, candidates: bool) -> None:
    plan = plan_words(cost, 1e-6, words, candidates)
    left = 1e-6 - plan.delta_words
    exact = dp.get_epsilon_gaussian(plan.noise_std / math.sqrt(words), left)
    assert exact <= epsilon([ledger_release(plan)], 1e-6) <= cost and plan.delta_words == (0 if candidates else 5e-7)
    if words > 1:  # hardly more noise than a continuous Gaussian would need
        assert dp.get_epsilon_gaussian((plan.noise_std - 2) / math.sqrt(words), left) > cost
    assert candidates or epsilon([ledger_release(plan)], plan.delta_words) == math.inf
    assert epsilon([ledger_release(plan, distance=2.0)], 1e-6) > epsilon([ledger_release(plan)], 1e-6)
    if candidates:
        assert plan.threshold == plan.single_word == 0
    else:  # union over the words of one client
        assert words * plan.single_word <= plan.delta_words < words * tail(plan.noise_std, plan.threshold - 2)


def law_of_words(counts: dict[str, int], std: int, threshold: int) -> dict[tuple[tuple[str, int], ...], float]:
    """Returns the law of a node's release: each counter's noised count if it reaches the threshold."""
    reach = range(-9 * std, 9 * std + 1)
    total = sum(math.exp(-(n * n) / (2 * std * std)) for n in reach)
    laws: list[dict[tuple[tuple[str, int], ...], float]] = []
    for word, count in sorted(counts.items()):
        law: dict[tuple[tuple[str, int], ...], float] = {(): 0.0}
        for n in reach:
            chance = math.exp(-(n * n) / (2 * std * std)) / total
            key = ((word, count + n),) if count + n >= threshold else ()
            law[key] = law.get(key, 0.0) + chance
        laws.append(law)
    joint: dict[tuple[tuple[str, int], ...], float] = {(): 1.0}
    for law in laws:
        joint = {a + b: p * q for a, p in joint.items() for b, q in law.items()}
    return joint


@pytest.mark.parametrize(("others", "one"), [({"a": 3}, ["a", "z"]), ({"a": 1}, ["y", "z"]), ({"a": 2, "b": 1}, ["z"])])
@pytest.mark.parametrize("replaced", [[], ["x"]])
def test_with_and_without_a_client_the_release_is_as_likely_as_stated_in_both_directions(
    others: dict[str, int], one: list[str], replaced: list[str]
) -> None:
    """The exact laws, at a threshold so low that new words appear often."""
    std, threshold, words = 4, 7, 2
    without, with_one = (Counter(others) + Counter(w) for w in (replaced, one))
    laws = [law_of_words(dict(counts), std, threshold) for counts in (without, with_one)]
    delta_words = words * tail(std, threshold - 1)
    plan = WordRelease(words, 1.0, 0.5, std, threshold, delta_words)
    for delta in (0.01, 0.05):
        cost = epsilon([ledger_release(plan, 2.0 if replaced else 1.0)], delta + delta_words)
        for p, q in (laws, laws[::-1]):
            missing = sum(max(0.0, chance - math.exp(cost) * q.get(key, 0.0)) for key, chance in p.items())
            assert missing <= delta + delta_words
    # What no client but c can have is seen in one direction only, with the probability that the threshold bounds.
    new = sum(chance for key, chance in laws[1].items() if {w for w, _ in key} - set(without))
    assert 0.05 < new <= delta_words


def test_tail_by_hand_and_against_draws() -> None:
    weights = [math.exp(-(n * n) / 8) for n in range(-60, 61)]
    assert tail(2, 3) == pytest.approx(sum(weights[63:]) / sum(weights), rel=1e-12)
    assert smallest_beyond(2, tail(2, 3)) == 3 and smallest_beyond(2, tail(2, 3) * 0.99) == 4
    drawn = discrete_gaussian(3, 200_000)
    for least in (0, 2, 6):
        chance = tail(3, least)
        assert abs(np.mean(drawn >= least) - chance) < 5 * math.sqrt(chance / 200_000)


def test_a_word_of_one_client_appears_no_more_often_than_stated() -> None:
    """With a threshold so low that it can be seen: 40,000 words of one client each, 5 standard deviations."""
    std, threshold, trials = 4, 10, 40_000
    plan = WordRelease(1, 1.0, 0.1, std, threshold, 0.1)
    stated = plan.single_word
    assert stated == pytest.approx(tail(std, 9))
    seen = len(noised_counts(([f"w{i}"] for i in range(trials)), plan, os.urandom))
    assert stated * trials > 200 and abs(seen - stated * trials) < 5 * math.sqrt(stated * trials)
    real = plan_words(1.0, 1e-6, 50)
    assert not noised_counts(([f"w{i}"] for i in range(trials)), real, os.urandom)  # chance below 4e-4


def test_what_nobody_used_is_not_there_and_candidates_all_are() -> None:
    plan = plan_words(8.0, 1e-3, 1)
    assert set(noised_counts([[" a"]] * 500, plan, os.urandom)) == {" a"}
    listed = plan_words(8.0, 1e-3, 1, True)
    assert set(noised_counts([[" a"]] * 500, listed, os.urandom, [" a", " b"])) == {" a", " b"}
    assert merged([{" a": 5, " b": -1}, {" b": 3, " c": 9}], 9) == [" c", " a", " b"]


def test_100000_clients_at_epsilon_1_give_the_most_used_words() -> None:
    clients, words, length = 100_000, 20_000, 25
    chances = 1 / np.arange(1, words + 1)
    ids = np.random.default_rng(0).choice(words, (clients, length), p=chances / chances.sum())
    names = np.array([f" w{i}" for i in range(words)])
    plan = plan_words(1.0, 1e-6, length)
    kept = noised_counts((list(dict.fromkeys(row)) for row in names[ids].tolist()), plan, os.urandom)
    top = np.argsort(-np.bincount(ids.ravel(), minlength=words), kind="stable")[:1000]
    assert sum(w in kept for w in names[top]) >= 800


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("private(sizes=3)", "its options are: size, epsilon, delta, words, candidates"),
        ("private(epsilon=0)", "epsilon of the vocabulary private: 0 is not a number > 0"),
        ("private(delta=2.0)", "delta of the vocabulary private: 2.0 is not a number > 0 and < 1"),
        ("private(words='x')", "is not a whole number"),
        ("private(size=3)", "size of the vocabulary private: 3 is not a number >= 45"),
    ],
)
def test_wrong_specs(spec: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_private(spec)


def test_a_file_that_says_private_but_not_how() -> None:
    with pytest.raises(ConfigError, match="learn the vocabulary again"):
        charged_before('{"privacy": {"words": 3}}')
    assert charged_before('{"kind": "words"}') is None and charged_before("") is None
