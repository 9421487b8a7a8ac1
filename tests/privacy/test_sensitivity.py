"""Adding or removing one client moves the released sum by at most the bound that the ledger uses."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlm.aggregation.exact import SCALE, ExactSum
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.privacy.clipping import l2_norm
from fedlm.privacy.mechanisms.base import Mechanism
from fedlm.privacy.mechanisms.registry import build_mechanism
from fedlm.privacy.settings import PrivacySettings
from fedlm.types import Weights

SHAPES = ((40, 3), (), (17,))
DIMENSION = 138
NOBODY = np.zeros(0, np.uint64)


def private(**more: Any) -> PrivacySettings:
    values = {
        "mechanism": "gaussian",
        "weighting": "uniform",
        "max_client_tokens": 10**6,
        "clip_norm": 0.7,
        "noise_multiplier": 1.0,
    }
    return RunConfig.checked({**values, "sampling_rate": 0.1, "cohort_size": 10, **more}).privacy


CAPPED = {"weighting": "capped(tokens=500)", "population_weight": 1e4}
SETTINGS = [{}, CAPPED, {"mechanism": "adaptive(quantile=0.5)"}, {**CAPPED, "mechanism": "adaptive()"}]


def update(kind: str, seed: int = 0) -> Weights | None:
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=s).astype(np.float32) for s in SHAPES]
    if kind == "failed":
        return None
    if kind == "huge":
        arrays = [np.asarray(a * np.float32(1e37)) for a in arrays]
    if kind == "half steps":  # every coordinate is rounded by a half: the rounding's worst case
        arrays = [np.full(s, 0.5 / SCALE, np.float32) for s in SHAPES]
    if kind == "denormal":
        arrays = [np.full(s, 1e-45, np.float32) for s in SHAPES]
    if kind in ("zero", "one-hot", "nan", "infinite"):
        arrays = [np.zeros(s, np.float32) for s in SHAPES]
    if kind == "one-hot":
        arrays[1] = np.array(5.0, np.float32)
    if kind == "nan":
        arrays[2][3] = np.nan
    if kind == "infinite":
        arrays[0][0, 0] = -np.inf
    if kind == "tiny":
        arrays = [np.asarray(a * np.float32(2**-26)) for a in arrays]
    return tuple(arrays)


KINDS = ["zero", "huge", "nan", "infinite", "one-hot", "random", "tiny", "half steps", "denormal", "failed"]
WEIGHTS = st.one_of(st.sampled_from([0, 1, 499, 500, 501, 10**9]), st.integers(0, 500))
clients = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 99), WEIGHTS), max_size=6)


def node_mechanism(s: PrivacySettings, clip_norm: float) -> Mechanism:
    """Returns the mechanism of a node that clips to a norm, as it does once it has heard of one."""
    mechanism = build_mechanism(s, DIMENSION)
    mechanism.clip_norm = clip_norm
    return mechanism


def empty() -> ExactSum:
    return ExactSum(tuple(np.zeros(shape, np.int64) for shape in SHAPES))


def total_of(cohort: list[tuple[str, int, int]], s: PrivacySettings, clip_norm: float) -> ExactSum:
    total, mechanism = empty(), node_mechanism(s, clip_norm)
    for kind, seed, tokens in cohort:
        mechanism.contribute(total, update(kind, seed), min(tokens, s.cap), lambda n: bytes(n))
    return total


@pytest.mark.parametrize("more", SETTINGS)
@settings(max_examples=40, deadline=None)
@given(cohort=clients, one=st.tuples(st.sampled_from(KINDS), st.integers(0, 99), WEIGHTS))
def test_one_client_moves_sum_and_count_by_at_most_the_bound(more: Any, cohort: Any, one: Any) -> None:
    s = private(**more)
    mechanism = build_mechanism(s, DIMENSION)
    event = mechanism.event(1, NOBODY)
    with_one, without = (total_of(c, s, event.clip_norm) for c in ([one, *cohort], cohort))
    moved = l2_norm(a - b for a, b in zip(with_one.sums, without.sums, strict=True))
    assert moved <= s.sensitivity(event.clip_norm, DIMENSION)
    assert event.noise_std >= event.noise_multiplier * s.sensitivity(event.clip_norm, DIMENSION)
    assert abs((2 * with_one.below - with_one.clients) - (2 * without.below - without.clients)) <= 1
    released = [mechanism.release(event, t, lambda n: bytes(n)) for t in (with_one, without)]  # the same noise twice
    assert l2_norm(a - b for a, b in zip(*released, strict=True)) == moved


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.floats(1e-6, 1e6), min_size=3, max_size=3), seed=st.integers(0, 99))
def test_bound_holds_at_the_norm_that_adaptive_clipping_has_come_to(sizes: list[float], seed: int) -> None:
    s = private(mechanism="adaptive()")
    for clip_norm in sizes:
        mechanism = build_mechanism(s, DIMENSION)
        mechanism.restore({"clip_norm": clip_norm})
        event = mechanism.event(1, NOBODY)
        moved = l2_norm(total_of([("huge", seed, 1)], s, event.clip_norm).sums)
        assert moved <= s.sensitivity(clip_norm, DIMENSION) <= event.noise_std / event.noise_multiplier


def test_two_updates_of_a_client_differ_by_twice_the_bound_under_local() -> None:
    s = private(noise_multiplier=0.0)  # without its noise, what a client tells
    up, turned = (total_of([("huge", 1, 1)], s, s.clip_norm).sums for _ in range(2))
    moved = l2_norm(a + b for a, b in zip(up, turned, strict=True))  # against the update turned round
    assert moved == pytest.approx(2 * s.sensitivity(s.clip_norm, DIMENSION), rel=1e-6)
    assert moved <= 2 * s.sensitivity(s.clip_norm, DIMENSION)


def test_rounding_is_part_of_the_bound() -> None:
    s = private(clip_norm=1e-9)  # far below a step of the lattice
    half = tuple(np.full(shape, 1e3, np.float32) for shape in SHAPES)
    clip_norm = 0.5 * math.sqrt(DIMENSION) / SCALE * (1 + 1e-6)  # clipped to half a step a coordinate, and rounded up
    total = empty()
    assert node_mechanism(s, clip_norm).contribute(total, half, 1, bytes)
    moved = l2_norm(total.sums)
    assert moved == pytest.approx(math.sqrt(DIMENSION))  # twice the clip norm on the lattice
    assert clip_norm * SCALE < moved <= s.sensitivity(clip_norm, DIMENSION)


@pytest.mark.parametrize("more", SETTINGS)
def test_bound_is_reached_but_for_the_rounding(more: Any) -> None:
    s = private(**more)
    moved = l2_norm(total_of([("huge", 1, 500)], s, s.clip_norm).sums)
    assert moved == pytest.approx(s.cap * s.clip_norm * SCALE, rel=1e-6)


def test_failed_client_and_nan_touch_no_other_and_are_counted() -> None:
    s = private()
    total = total_of([("nan", 0, 1), ("random", 1, 1), ("failed", 2, 1)], s, s.clip_norm)
    assert (total.clients, total.failed) == (1, 2)
    alone = total_of([("random", 1, 1)], s, s.clip_norm)
    assert all(np.array_equal(a, b) for a, b in zip(total.sums, alone.sums, strict=True))


def test_local_client_that_fails_sends_noise_all_the_same() -> None:
    s = private(mechanism="local")
    total = empty()
    assert not node_mechanism(s, s.clip_norm).contribute(total, None, 0, np.random.default_rng(1).bytes)
    assert l2_norm(total.sums) > s.noise_std(s.clip_norm, DIMENSION)


def test_local_noise_fits_the_norm_that_was_clipped_to() -> None:
    s = private(mechanism="local")
    total = empty()
    assert node_mechanism(s, 100 * s.clip_norm).contribute(total, update("zero"), 1, np.random.default_rng(1).bytes)
    expected = s.noise_std(100 * s.clip_norm, DIMENSION) * math.sqrt(DIMENSION)
    assert l2_norm(total.sums) == pytest.approx(expected, rel=0.25)


def test_empty_cohort_releases_pure_noise() -> None:
    s = private()
    mechanism = build_mechanism(s, DIMENSION)
    event = mechanism.event(1, NOBODY)
    noised = mechanism.release(event, total_of([], s, s.clip_norm), np.random.default_rng(1).bytes)
    assert l2_norm(noised) / event.noise_std == pytest.approx(math.sqrt(DIMENSION), rel=0.25)


def test_adaptive_norm_follows_the_quantile_by_hand() -> None:
    s = private(mechanism="adaptive(quantile=0.5, learning_rate=0.2)", noise_multiplier=0.0)
    mechanism = build_mechanism(s, DIMENSION)
    total = total_of([("zero", 0, 1)] * 10, s, s.clip_norm)  # all ten keep the norm: share 1
    mechanism.release(mechanism.event(1, NOBODY), total, bytes)
    assert mechanism.clip_norm == pytest.approx(0.7 * math.exp(-0.2 * 0.5))
    other = build_mechanism(s, DIMENSION)
    other.restore(mechanism.state())
    assert other.clip_norm == mechanism.clip_norm


def test_adaptive_shares_cost_what_was_asked_for() -> None:
    event = build_mechanism(private(mechanism="adaptive()", noise_multiplier=1.3), DIMENSION).event(1, NOBODY)
    together = 1 / math.hypot(1 / event.noise_multiplier, 1 / event.count_multiplier)
    assert together == pytest.approx(1.3)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"clip_norm": 0}, "needs clip_norm > 0"),
        ({"weighting": "tokens"}, "Token weights are unbounded"),
        ({"weighting": "capped(tokens=5)"}, "population_weight"),
        ({"sampling_rate": 0}, "needs a sampling_rate"),
        ({"mechanism": "laplace"}, "no mechanism 'laplace'"),
        ({"mechanism": "gaussian(x=1)"}, "no option 'x'"),
        ({"mechanism": "none"}, "Without a mechanism"),
        ({"noise_cohort_size": 5}, "at least cohort_size"),
        ({"mechanism": "local", "noise_cohort_size": 50}, "has no effect"),
        ({"clip_norm": math.inf}, "finite"),
        ({"noise_multiplier": 1e9}, "at most 1e"),
        ({"mechanism": "adaptive(quantile='x')"}, "is not a number"),
        ({"mechanism": "adaptive(quantile=1e999)"}, "must be finite numbers|is not a finite number"),
        ({"quorum": 0.5}, "quorum reads the number of clients"),
        ({"patience": 3}, "patience reads figures of an evaluation"),
    ],
)
def test_what_has_no_guarantee_is_refused_with_a_sentence(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        private(**more)


def test_strategies_that_are_no_mean_and_sums_that_could_overflow_are_refused() -> None:
    s = private()
    with pytest.raises(ConfigError, match="cohort's mean"):
        s.check(accepts_mean=False)
    s.check_overflow(s.clip_norm, DIMENSION, 10**6)
    with pytest.raises(ConfigError, match="overflow"):
        s.check_overflow(1e12, DIMENSION, 10)


def test_sums_are_refused_just_where_bound_times_clients_and_forty_sigma_pass_the_limit() -> None:
    s = private(noise_multiplier=0.25)
    # C 2^24 (10 + 40 * 0.25) = 2^62: the square root of d and the rounding up of sigma are a part in 1e9.
    edge = 2.0**62 / 2.0**24 / (10 + 40 * 0.25)
    s.check_overflow(edge * (1 - 1e-6), DIMENSION, 10)
    with pytest.raises(ConfigError, match="overflow"):
        s.check_overflow(edge * (1 + 1e-6), DIMENSION, 10)


@pytest.mark.parametrize("mechanism", ["gaussian", "local", "adaptive()"])
def test_a_node_takes_only_the_norm_that_noise_and_statement_are_for(mechanism: str) -> None:
    built = build_mechanism(private(mechanism=mechanism), DIMENSION)
    built.receive({"clip-norm": 0.7, "more": 1.0})
    assert built.clip_norm == 0.7
    for told in ({}, *({"clip-norm": norm} for norm in (0.0, -0.7, math.nan, math.inf))):
        with pytest.raises(ConfigError, match="has no finite clip norm above 0"):
            built.receive(told)
    if mechanism == "adaptive()":
        built.receive({"clip-norm": 0.9})
        assert built.clip_norm == 0.9
        return
    for norm in (0.9, 7e9, 0.7 * (1 - 1e-15)):
        with pytest.raises(ConfigError, match="The message sets the clip norm"):
            built.receive({"clip-norm": norm})
    assert built.clip_norm == 0.7


@pytest.mark.parametrize("mechanism", ["none", "gaussian", "local", "adaptive()"])
def test_only_a_run_without_a_mechanism_adds_updates_as_they_are(mechanism: str) -> None:
    values = (
        {}
        if mechanism == "none"
        else {"weighting": "uniform", "max_client_tokens": 10**6, "clip_norm": 0.7, "sampling_rate": 0.1}
    )
    built = build_mechanism(RunConfig.checked({"mechanism": mechanism, **values}).privacy, DIMENSION)
    assert built.is_plain == (mechanism == "none")
    assert dict(built.broadcast()) == ({} if mechanism == "none" else {"clip-norm": 0.7})
