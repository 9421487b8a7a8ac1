"""Schedules are functions of the round alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm.errors import ConfigError
from fedlm.schedules import rate_factor

SPECS = [
    "constant",
    "step(every=10, factor=0.5)",
    "exponential(factor=0.9)",
    "linear(rounds=20, end=0.1)",
    "cosine(rounds=20, warmup=5)",
]


@given(st.sampled_from(SPECS), st.permutations(range(1, 30)))
def test_the_order_of_rounds_does_not_matter(spec: str, rounds: list[int]) -> None:
    asked = {r: rate_factor(spec, r) for r in rounds}
    assert asked == {r: rate_factor(spec, r) for r in range(1, 30)}
    assert all(0 <= f <= 1 for f in asked.values())


def test_by_hand() -> None:
    assert rate_factor("constant(warmup=3)", 1) == 0.25 and rate_factor("constant(warmup=3)", 4) == 1
    assert rate_factor("exponential(factor=0.5)", 4) == 0.125
    assert rate_factor("cosine(rounds=4)", 3) == pytest.approx((1 + math.cos(math.pi / 2)) / 2)
    assert rate_factor("linear(rounds=10, end=0.5)", 6) == 0.75


@pytest.mark.parametrize("spec", ["sine", "step(evry=3)", "step(every=0)", "linear(rounds='x')", "cosine(end=-1)"])
def test_wrong_schedules(spec: str) -> None:
    with pytest.raises(ConfigError, match="schedule"):
        rate_factor(spec, 1)
