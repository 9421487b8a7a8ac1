"""Client sampling of studies."""

import math
from typing import Any

import numpy as np
import pytest

from fedlm.errors import ConfigError
from fedlm.types import TextMetrics
from scenarios.runner.cohorts import (
    Population,
    agnostic,
    available,
    balanced,
    build_sampling,
    dropout,
    mixture,
    only,
)


def population(**more: Any) -> Population:
    clients = np.arange(1, 101, dtype=np.uint64)
    known: dict[str, Any] = {
        "key": bytes(32),
        "clients": clients,
        "tokens": {int(c): int(c) for c in clients},
        "groups": {int(c): "a" if c <= 80 else "b" for c in clients},
        "figures": {},
    }
    return Population(**(known | more))


def test_client_sampling_follows_its_rule() -> None:
    rare = [available(population(), r, 100, group="b", share=0.1) for r in range(200)]
    assert all(len(c) >= 80 for c in rare)
    assert np.mean([len(c) - 80 for c in rare]) == pytest.approx(2, abs=0.5)  # 20 clients, a tenth of the rounds
    kept = np.concatenate([dropout(population(), r, 100, rate=0.4) for r in range(200)])
    assert len(kept) / 200 == pytest.approx(60, abs=2)
    assert np.sum(kept <= 20) > 3 * np.sum(kept > 80)  # chances to stay 0.9 against 0.28 on average
    half = balanced(population(), 1, 10)
    assert sum(c > 80 for c in half) == 5
    worse = {c: TextMetrics(2.0 if c <= 80 else 4.0, 0, 1, 1) for c in range(1, 101)}
    drawn = agnostic(population(figures=worse), 1, 10, step=math.log(3) / 2)  # weights 1 to 3
    assert sum(c > 80 for c in drawn) == 8 and len(drawn) == 10


def test_an_unknown_rule_is_one_sentence_and_a_known_one_reads_its_options() -> None:
    with pytest.raises(ConfigError, match="Unknown client sampling 'lottery'; choose one of: available"):
        build_sampling("lottery(rate=1)")
    everyone = build_sampling("dropout(rate=0.0)")(population(), 1, 100)
    assert len(everyone) == 100


def test_a_population_of_one_and_of_none() -> None:
    one = population(clients=np.array([7], np.uint64), tokens={7: 1}, groups={7: "a"})
    none = population(clients=np.zeros(0, np.uint64), tokens={}, groups={})
    for rule, options in ((dropout, {"rate": 0.0}), (available, {"group": "a", "share": 1.0})):
        assert rule(one, 1, 5, **options).tolist() == [7]  # type: ignore[operator]
        assert rule(none, 1, 5, **options).tolist() == []  # type: ignore[operator]
    assert balanced(one, 1, 5).tolist() == [7] and agnostic(one, 1, 5).tolist() == [7]


@pytest.mark.parametrize("rule", ["balanced", "agnostic", "dropout(rate=0.1)", "available(group='g1', share=0.5)"])
@pytest.mark.parametrize("groups", [1, 3, 7, 20])
def test_a_cohort_has_at_most_one_client_a_group_more_than_its_size(rule: str, groups: int) -> None:
    """Nodes are told cohort_size plus the number of groups as the bound that keeps sums from overflowing."""
    everyone = population(groups={c: f"g{c % groups}" for c in range(1, 101)})
    for size in (1, 2, 8, 10):
        assert len(build_sampling(rule)(everyone, 1, size)) <= size + groups


def test_a_mixture_has_its_share_and_its_training_sets_are_nested() -> None:
    sets = {}
    for share in (0.0, 0.05, 0.1, 0.5):
        cohorts = [mixture(population(minority="b"), r, 10, share=share, clients=20) for r in range(200)]
        assert all(len(set(c.tolist())) == 10 for c in cohorts)
        sets[share] = {int(c) for cohort in cohorts for c in cohort}
        assert len(sets[share]) == 20 and sum(c > 80 for c in sets[share]) == 20 * share
    few, more = ({c for c in sets[s] if c > 80} for s in (0.1, 0.5))
    assert few < more
    rest, fewer = ({c for c in sets[s] if c <= 80} for s in (0.1, 0.5))
    assert fewer < rest
    with pytest.raises(ConfigError, match="needs 21 clients of b and 9 others; there are 20 of b and 80 others"):
        mixture(population(), 1, 4, share=0.7, clients=30, group="b")


def test_a_group_of_a_mixture_is_away_in_its_share_of_the_rounds() -> None:
    rounds = [mixture(population(), r, 20, share=0.5, clients=20, group="b", available=0.25) for r in range(400)]
    assert all(sum(c <= 80 for c in r) == 10 for r in rounds)  # all of the others
    assert np.mean([sum(c > 80 for c in r) for r in rounds]) == pytest.approx(2.5, abs=0.3)


def test_only_some_groups_train_and_always_the_same_clients() -> None:
    groups = {c: f"g{c % 4}" for c in range(1, 101)}
    found = {int(c) for r in range(100) for c in only(population(groups=groups), r, 5, groups=["g1", "g3"], clients=10)}
    assert len(found) == 10 and {groups[c] for c in found} == {"g1", "g3"}
    with pytest.raises(ConfigError, match="needs 51 clients of g1, g3; there are 50"):
        only(population(groups=groups), 1, 5, groups=["g1", "g3"], clients=51)
