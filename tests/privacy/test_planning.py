import math

import dp_accounting as dp
import pytest

from fedlm.privacy.planning import plan, planned_epsilon

CASES = [(2.0, 500, 0.002), (0.5, 100, 0.01), (8.0, 50, 0.2), (30.0, 10_000, 0.05), (1.0, 3, 1.0)]


@pytest.mark.parametrize(("target", "rounds", "rate"), CASES)
def test_plan_is_the_smallest_noise_within_the_target(target: float, rounds: int, rate: float) -> None:
    z = plan(target=target, delta=1e-6, rounds=rounds, sampling_rate=rate)
    assert planned_epsilon(z, delta=1e-6, rounds=rounds, sampling_rate=rate) <= target
    assert planned_epsilon(z - 1e-3, delta=1e-6, rounds=rounds, sampling_rate=rate) > target


def test_a_figure_of_the_documentation() -> None:
    assert plan(target=2, delta=1e-6, rounds=500, sampling_rate=0.002) == pytest.approx(0.6525, abs=2e-4)


def test_without_sampling_it_is_the_closed_form_also_at_an_extreme() -> None:
    for target in (0.01, 0.1, 10.0):
        exact = dp.get_sigma_gaussian(target, 1e-6) * math.sqrt(100)
        assert plan(target=target, delta=1e-6, rounds=100, sampling_rate=1.0) == pytest.approx(exact, rel=1e-4)


def test_a_delta_below_the_grids_error_is_planned_by_renyi_dp() -> None:
    z = plan(target=1.0, delta=1e-15, rounds=100, sampling_rate=0.01)
    assert 0.98 < planned_epsilon(z, delta=1e-15, rounds=100, sampling_rate=0.01) <= 1.0


def test_what_no_noise_costs_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"below 0\.2, which is not supported: choose a smaller epsilon"):
        plan(target=1e9, delta=1e-5, rounds=10, sampling_rate=0.1)
    with pytest.raises(ValueError, match=r"above 1e\+06: choose a larger epsilon"):
        plan(target=1e-3, delta=1e-15, rounds=10, sampling_rate=0.1)


@pytest.mark.parametrize(
    "wrong",
    [{"target": 0}, {"target": math.nan}, {"target": math.inf}, {"delta": 1}, {"rounds": 0}, {"sampling_rate": 0}],
)
def test_plan_refuses_what_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        plan(**({"target": 1.0, "delta": 1e-5, "rounds": 1, "sampling_rate": 0.1} | wrong))  # type: ignore[arg-type]
