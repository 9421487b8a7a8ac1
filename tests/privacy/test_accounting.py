import itertools
import math

import dp_accounting as dp
import pytest
from dp_accounting import pld, rdp

from fedlm.privacy.accounting import ORDERS, Release, epsilon, plan


def release(rate: float, z: float, **more: object) -> Release:
    values = {"round": 1, "mechanism": "gaussian", "clip_norm": 1.0, "cap": 1, "clients": 10, "noise_std": 1} | more
    return Release(sampling_rate=rate, noise_multiplier=z, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("examples", "batch", "z", "epochs", "delta", "published"),
    [  # tensorflow_privacy, compute_dp_sgd_privacy_test
        (60_000, 150, 1.3, 15, 1e-5, 0.7242234026109595),
        (100_000, 100, 1.0, 30, 1e-7, 1.4154988495444845),
    ],
)
def test_published_values(examples: int, batch: int, z: float, epochs: int, delta: float, published: float) -> None:
    steps = epochs * examples // batch
    assert epsilon([release(batch / examples, z)] * steps, delta) == pytest.approx(published, rel=1e-9)


TABLE = list(itertools.product([0.001, 0.01, 0.1, 0.5, 1.0], [0.8, 2.0], [(1, 1e-5), (300, 1e-6)]))


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "z", "rounds_delta"), TABLE)
def test_table_against_dp_accounting_called_directly(rate: float, z: float, rounds_delta: tuple[int, float]) -> None:
    rounds, delta = rounds_delta
    gaussian = dp.GaussianDpEvent(z)
    event = gaussian if rate == 1 else dp.PoissonSampledDpEvent(rate, gaussian)
    ours = epsilon([release(rate, z)] * rounds, delta)
    integers = rdp.RdpAccountant([float(o) for o in ORDERS]).compose(event, rounds).get_epsilon(delta)
    assert ours == pytest.approx(integers, rel=1e-9)
    assert ours >= rdp.RdpAccountant().compose(event, rounds).get_epsilon(delta) - 1e-9  # integers are no better
    if rounds == 1:
        tight = pld.PLDAccountant().compose(event, rounds).get_epsilon(delta)
        assert epsilon([release(rate, z)], delta, "pld") == pytest.approx(tight)
        assert tight <= ours


def test_twenty_rows() -> None:
    assert len(TABLE) == 20


def test_sum_and_count_cost_as_one_gaussian() -> None:
    z, count = 1.06, 10.0
    together = 1 / math.hypot(1 / z, 1 / count)
    adaptive = [release(0.1, z, count_multiplier=count)] * 20
    assert epsilon(adaptive, 1e-5) == pytest.approx(epsilon([release(0.1, together)] * 20, 1e-5))
    assert epsilon(adaptive, 1e-5, "pld") == pytest.approx(epsilon([release(0.1, together)] * 20, 1e-5, "pld"))


def test_local_pays_for_the_worst_client_with_twice_the_sensitivity_and_no_sampling() -> None:
    rows = [release(1.0, 8.0, mechanism="local", compositions=n, distance=2.0) for n in (1, 0, 1, 0)]
    direct = rdp.RdpAccountant(ORDERS).compose(dp.GaussianDpEvent(4.0), 2).get_epsilon(1e-5)
    assert epsilon(rows, 1e-5) == pytest.approx(direct)


def test_edges() -> None:
    assert epsilon([], 1e-5) == 0
    assert epsilon([release(0.1, 0.0)], 1e-5) == math.inf
    mixed = [release(0.1, 1.0), release(0.1, 2.0)]
    assert max(epsilon([m], 1e-5) for m in mixed) < epsilon(mixed, 1e-5)


@pytest.mark.parametrize(("target", "rounds", "rate"), [(2.0, 500, 0.002), (0.5, 100, 0.01), (8.0, 50, 0.2)])
def test_plan_is_the_smallest_noise_within_the_target(target: float, rounds: int, rate: float) -> None:
    z = plan(target=target, delta=1e-5, rounds=rounds, sampling_rate=rate)
    assert epsilon([release(rate, z)] * rounds, 1e-5) <= target
    assert epsilon([release(rate, z - 0.001)] * rounds, 1e-5) > target


@pytest.mark.parametrize("wrong", [{"target": 0}, {"delta": 1}, {"rounds": 0}, {"sampling_rate": 0}])
def test_plan_refuses_what_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        plan(**({"target": 1.0, "delta": 1e-5, "rounds": 1, "sampling_rate": 0.1} | wrong))  # type: ignore[arg-type]
