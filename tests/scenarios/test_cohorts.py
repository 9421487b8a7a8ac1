"""Client sampling of studies."""

import math
from typing import Any

import numpy as np
import pytest

from fedlm.errors import ConfigError
from fedlm.types import TextMetrics
from scenarios.runner.cohorts import Population, agnostic, available, balanced, build_sampling, dropout


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
