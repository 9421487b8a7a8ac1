import itertools
import math

import dp_accounting as dp
import pytest
from dp_accounting import pld, rdp

from fedlm.privacy.accounting import ORDERS, Release, epsilon
from fedlm.privacy.events import dp_event, events


def release(rate: float, z: float, **more: object) -> Release:
    values = {"round": 1, "mechanism": "gaussian", "clip_norm": 1.0, "cap": 1, "clients": 10, "noise_std": 2**24} | more
    return Release(sampling_rate=rate, noise_multiplier=z, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("examples", "batch", "z", "epochs", "delta", "published"),
    [  # tensorflow_privacy, compute_dp_sgd_privacy_test
        (60_000, 150, 1.3, 15, 1e-5, 0.7242234026109595),
        (100_000, 100, 1.0, 30, 1e-7, 1.4154988495444845),
    ],
)
def test_published_values(examples: int, batch: int, z: float, epochs: int, delta: float, published: float) -> None:
    rounds = [release(batch / examples, z)] * (epochs * examples // batch)
    assert epsilon(rounds, delta, "rdp") == pytest.approx(published, rel=1e-9)
    assert epsilon(rounds, delta) < published  # PLD, which is stated, is tighter


# rates, noise multipliers, (rounds, delta): 20 settings
TABLE = list(itertools.product([0.001, 0.01, 0.1, 0.5, 1.0], [0.8, 2.0], [(1, 1e-5), (300, 1e-6)]))


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "z", "rounds_delta"), TABLE)
def test_table_against_dp_accounting_called_directly(rate: float, z: float, rounds_delta: tuple[int, float]) -> None:
    rounds, delta = rounds_delta
    gaussian = dp.GaussianDpEvent(z)
    event = gaussian if rate == 1 else dp.PoissonSampledDpEvent(rate, gaussian)
    ours = [release(rate, z)] * rounds
    integers = rdp.RdpAccountant([float(o) for o in ORDERS]).compose(event, rounds).get_epsilon(delta)
    assert epsilon(ours, delta, "rdp") == pytest.approx(integers, rel=1e-9)
    step = 1e-4 if rate < 0.5 else 1e-3  # many rounds without sampling take dp-accounting a minute on the finer grid
    tight = pld.PLDAccountant(value_discretization_interval=step).compose(event, rounds).get_epsilon(delta)
    assert epsilon(ours, delta) == pytest.approx(tight, rel=2e-3, abs=1e-4)
    assert epsilon(ours, delta) <= integers


def test_twenty_rows() -> None:
    assert len(TABLE) == 20


@pytest.mark.parametrize(("z", "rounds", "delta"), [(5, 10, 1e-5), (50, 500, 1e-10), (300, 10_000, 1e-9)])
def test_almost_no_sampling_costs_no_less_than_the_closed_form_of_the_gaussian(
    z: float, rounds: int, delta: float
) -> None:
    """The numerical composition is an upper bound, also with thousands of rounds and at a small delta."""
    exact = dp.get_epsilon_gaussian(z / math.sqrt(rounds), delta)
    assert epsilon([release(1.0, z)] * rounds, delta) == pytest.approx(exact, rel=1e-6)
    nearly = epsilon([release(1 - 1e-9, z)] * rounds, delta, "pld")
    assert exact * (1 - 1e-8) <= nearly <= exact * 1.005


def test_extremes_have_a_bound() -> None:
    assert epsilon([release(0.002, 0.7536)] * 500, 1e-6) == pytest.approx(1.045, abs=5e-3)  # 1.999 by Renyi DP
    assert epsilon([release(1.0, 1.0)], 1e-300) < math.inf
    tiny = [release(0.01, 1.0)] * 10
    assert epsilon(tiny, 1e-20, "pld") == math.inf  # below the error of the Fourier transforms
    assert epsilon(tiny, 1e-20) == epsilon(tiny, 1e-20, "rdp") < math.inf
    assert 1000 < epsilon([release(0.5, 0.05)] * 10, 1e-6) < epsilon([release(0.5, 0.05)] * 10, 1e-6, "rdp")


def test_epsilon_grows_with_rounds_and_falls_with_noise_and_delta() -> None:
    by_rounds = [epsilon([release(0.05, 1.0)] * n, 1e-5) for n in (1, 2, 3, 50, 51, 999, 1000, 1001, 2500)]
    by_noise = [epsilon([release(0.05, z)] * 100, 1e-5) for z in (0.5, 0.7, 1.0, 1.001, 3.0, 30.0)]
    by_delta = [epsilon([release(0.05, 1.0)] * 100, d) for d in (1e-10, 1e-7, 1e-5, 1e-2)]
    assert by_rounds == sorted(set(by_rounds))
    assert by_noise == sorted(set(by_noise), reverse=True) and by_delta == sorted(set(by_delta), reverse=True)


def test_sum_and_count_cost_as_one_gaussian() -> None:
    z, count = 1.06, 10.0
    together = 1 / math.hypot(1 / z, 1 / count)
    adaptive, one = [release(0.1, z, count_multiplier=count)] * 20, [release(0.1, together)] * 20
    assert epsilon(adaptive, 1e-5, "rdp") == pytest.approx(epsilon(one, 1e-5, "rdp"))
    assert epsilon(adaptive, 1e-5) == pytest.approx(epsilon(one, 1e-5), rel=1e-3)
    assert epsilon(adaptive, 1e-5) > epsilon(one, 1e-5)  # the discrete noise of a count is not as fine as that of a sum


def test_noise_of_a_few_steps_is_stated_by_the_smaller_bound() -> None:
    for std in (1, 2, 3, 5, 50, 2**24):
        found = {m: epsilon([release(0.5, 1.0, noise_std=std)], 1e-6, m) for m in ("stated", "pld", "rdp")}
        assert found["stated"] == min(found["pld"], found["rdp"])
    assert epsilon([release(0.5, 1.0, noise_std=1)], 1e-6, "pld") == math.inf


def test_local_pays_for_the_worst_client_with_twice_the_sensitivity_and_no_sampling() -> None:
    rows = [release(1.0, 8.0, mechanism="local", compositions=n, distance=2.0) for n in (1, 0, 1, 0)]
    assert epsilon(rows, 1e-5) == pytest.approx(dp.get_epsilon_gaussian(4 / math.sqrt(2), 1e-5), rel=1e-6)


def test_edges() -> None:
    for method in ("stated", "pld", "rdp"):
        assert epsilon([], 1e-5, method) == 0
        assert epsilon([release(0.1, 0.0)], 1e-5, method) == math.inf
        assert epsilon([release(0.0, 1.0)], 1e-5, method) == pytest.approx(0, abs=1e-9)
    mixed = [release(0.1, 1.0), release(0.1, 2.0), release(1.0, 9.0)]
    assert max(epsilon([m], 1e-5) for m in mixed) < epsilon(mixed, 1e-5) < sum(epsilon([m], 1e-5 / 3) for m in mixed)


def test_events_give_another_accountant_the_same_epsilon() -> None:
    run = [release(0.01, 1.2)] * 40 + [release(0.01, 1.3, count_multiplier=12.0)] * 3
    run += [release(1.0, 9.0, delta=3e-7, threshold=40, mechanism="vocabulary"), release(0.5, 1.0, compositions=0)]
    told = events(run)
    event = dp_event(run)
    assert isinstance(event, dp.ComposedDpEvent) and [e.count for e in event.events] == [40, 3, 1]
    assert told["delta_added"] == 3e-7 and 0 < told["epsilon_added"] < 1e-14
    theirs = pld.PLDAccountant().compose(event).get_epsilon(1e-6 - told["delta_added"])
    assert epsilon(run, 1e-6) == pytest.approx(theirs + told["epsilon_added"], rel=2e-3)
    assert told["event"]["events"][1]["event"]["class"] == "PoissonSampledDpEvent"
