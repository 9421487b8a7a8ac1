"""Flower's strategies inside ours: by name, with their state, and refused where their arithmetic would be wrong."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.serverapp.strategy import FedAvg, Strategy

from fedlm.aggregation.base import ClientResult, RoundPlan
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.messages.fields import record_weights, weights_record
from fedlm.messages.training import TrainRequest
from fedlm.types import TextMetrics, Weights
from server.engines.local import take_identity
from server.run.strategies import (
    _HAND_BACK,
    ACCEPT_MEAN,
    PER_CLIENT,
    ServerOptimizer,
    accepts_mean,
    as_reply,
    build_strategy,
    part_way,
)
from server.run.strategy_state import StrategyState
from server.run.summary import _sends_single_updates
from server.store.checkpoint import Checkpoint

pytestmark = pytest.mark.flower


@pytest.fixture(autouse=True)
def identity() -> None:
    take_identity()


def aggregate(strategy: Strategy, server_round: int, weights: Weights, mean: Weights) -> Weights:
    """Returns what a strategy itself makes of one reply, the mean."""
    ServerOptimizer(strategy).begin(server_round, weights_record(weights))
    arrays, _ = strategy.aggregate_train(server_round, [as_reply(mean, 1, TextMetrics(1.0, 0, 1, 1))])
    assert arrays is not None
    return record_weights(arrays)


def stepped(optimizer: ServerOptimizer, server_round: int, weights: Weights, mean: Weights) -> Weights:
    """Returns the next weights of a round, as the round loop asks for them."""
    optimizer.begin(server_round, weights_record(weights))
    plan = RoundPlan(server_round, weights, np.zeros(0, np.uint64))
    return optimizer.step(plan, mean, (), TextMetrics(1.0, 0, 1, 1))


SPECS = [
    "FedAvg",
    "FedProx(proximal_mu=0.1)",
    "FedAvgM(server_momentum=0.9)",
    "FedAdam(eta=0.01)",
    "FedYogi",
    "FedAdagrad",
]


@pytest.mark.parametrize("spec", SPECS)
def test_state_goes_through_a_checkpoint(spec: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    means = [tuple(rng.normal(size=s).astype(np.float32) for s in ((3, 2), (4,))) for _ in range(5)]
    weights = tuple(np.zeros_like(m) for m in means[0])

    def run(restart_after: int | None) -> Weights:
        strategy, now = build_strategy(spec), weights
        state = StrategyState(strategy)
        for place, mean in enumerate(means, 1):
            now = stepped(ServerOptimizer(strategy), place, now, mean)
            if place == restart_after:
                Checkpoint(place, now, *state.capture()).write(tmp_path / "c")
                read = Checkpoint.read(tmp_path / "c")
                strategy = build_strategy(spec)
                state = StrategyState(strategy)
                state.restore(dict(read.arrays), dict(read.strategy))
                now = read.weights
        return now

    for a, b in zip(run(None), run(3), strict=True):
        assert a.tobytes() == b.tobytes()


def test_fedavg_hands_the_mean_back_bit_by_bit() -> None:
    mean = (np.float32([1.1, -2.3e-7]),)
    assert aggregate(build_strategy("FedAvg"), 1, (np.zeros(2, np.float32),), mean)[0].tobytes() == mean[0].tobytes()


def test_names() -> None:
    assert all(accepts_mean(build_strategy("FedProx(proximal_mu=1.0)" if n == "FedProx" else n)) for n in ACCEPT_MEAN)
    assert not any(
        accepts_mean(build_strategy(f"{n}(client_learning_rate=1.0)" if n == "QFedAvg" else n))
        for n in PER_CLIENT
        if n not in ("Krum", "MultiKrum", "Bulyan")
    )
    assert type(build_strategy("flwr.serverapp.strategy.FedAvg")).__name__ == "FedAvg"


@pytest.mark.parametrize(
    "spec",
    [
        "Nothing",
        "FedAvg(x=1)",
        "FedXgbBagging",
        "DifferentialPrivacyServerSideFixedClipping",
        "os.path.join",
        "no.such.Thing",
        "builtins.dict",
    ],
)
def test_refused(spec: str) -> None:
    with pytest.raises(ConfigError):
        build_strategy(spec)


def test_state_of_another_kind_says_so() -> None:
    strategy = build_strategy("FedAvg")
    state = StrategyState(strategy)
    strategy.memory = object()  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="cannot be resumed"):
        state.capture()


def test_request_carries_what_the_strategy_tells() -> None:
    weights = weights_record((np.zeros(2, np.float32),))
    told = ServerOptimizer(build_strategy("FedProx(proximal_mu=0.5)")).begin(3, weights)
    content = TrainRequest("{}", 3, np.zeros(0, np.uint64), weights, told).content()
    assert TrainRequest.read(content).strategy["proximal-mu"] == 0.5


@pytest.mark.parametrize("spec", SPECS)
def test_a_strategy_that_hands_the_mean_back_hands_back_its_very_bits(spec: str) -> None:
    strategy = build_strategy(spec)
    state = StrategyState(strategy)
    start = (np.zeros((3, 4), np.float32), np.ones(2, np.float32))
    mean = (np.float32([[-0.0, 1e-42, 3.4e38, 1 / 3]] * 3), np.float32([7.0, -1e-7]))
    hands_back = type(strategy) in _HAND_BACK
    if hands_back:
        found = aggregate(strategy, 1, start, mean)
        assert [w.tobytes() for w in found] == [w.tobytes() for w in mean]
        assert state.capture() == ({}, {})
        assert stepped(ServerOptimizer(strategy), 1, start, mean) is mean
    assert hands_back == (spec == "FedAvg" or spec.startswith("FedProx"))


@pytest.mark.parametrize("spec", SPECS)
def test_a_round_steps_to_what_the_strategy_makes_of_the_mean(spec: str) -> None:
    start, mean = (np.zeros((3, 2), np.float32),), (np.float32([[1.5, -2], [0.25, 3], [0, -1]]),)
    asked, through = build_strategy(spec), ServerOptimizer(build_strategy(spec))
    for server_round in (1, 2, 3):
        expected = aggregate(asked, server_round, start, mean)
        assert stepped(through, server_round, start, mean)[0].tobytes() == expected[0].tobytes()
        start, mean = expected, tuple(m + np.float32(0.5) for m in mean)


def test_a_rule_over_single_clients_sees_each_with_its_weight() -> None:
    """A median of three clients is the middle one, and not the mean, whatever the weights."""
    singles = [ClientResult((np.float32([value]),), 1, TextMetrics(1.0, 0, 1, 1)) for value in (1.0, 2.0, 9.0)]
    plan = RoundPlan(1, (np.zeros(1, np.float32),), np.arange(3, dtype=np.uint64))
    optimizer = ServerOptimizer(build_strategy("FedMedian"))
    optimizer.begin(1, weights_record(plan.weights))
    assert optimizer.step(plan, (np.float32([4.0]),), singles, TextMetrics())[0].tolist() == [2.0]


def test_the_schedule_takes_a_share_of_the_step() -> None:
    """`exponential(factor=0.5)` takes the whole step in round 1 and half of it in round 2."""
    optimizer = ServerOptimizer(build_strategy("FedAvg"), "exponential(factor=0.5)")
    start, mean = (np.float32([1.0]),), (np.float32([3.0]),)
    assert [stepped(optimizer, r, start, mean)[0][0] for r in (1, 2, 3)] == [3.0, 2.0, 1.5]


def test_part_way() -> None:
    start, end = (np.array([1.0], np.float32),), (np.array([3.0], np.float32),)
    assert part_way(start, end, 1.0) is end
    assert part_way(start, end, 0.25)[0] == 1.5 and part_way(start, end, 0.0)[0] == 1.0


class Remembering(FedAvg):
    """A user's own rule that changes what it holds in place."""

    def __init__(self, kept: object = None) -> None:
        super().__init__()
        self.kept: Any = kept if kept is not None else {"seen": [0], "by node": {}, "pair": (1, 2)}
        self.array, self.same, self.counts = np.zeros(2), [1, {"a": 2.0}], defaultdict[str, int](int)

    def see(self) -> None:
        self.kept["seen"].append(3)
        self.kept["by node"][7] = np.ones(2)
        self.kept["pair"] = (1, 5)
        self.array += 1
        self.counts["rounds"] += 1


def test_what_a_strategy_changes_in_place_goes_through_a_checkpoint(tmp_path: Path) -> None:
    strategy = Remembering()
    state = StrategyState(strategy)
    assert state.capture() == ({}, {})
    strategy.see()
    arrays, tree = state.capture()
    assert set(tree) == {"kept", "array", "counts"}  # what is the same needs no checkpoint
    Checkpoint(1, (np.zeros(1, np.float32),), arrays, tree).write(tmp_path / "c")
    read, again = Checkpoint.read(tmp_path / "c"), Remembering()
    StrategyState(again).restore(dict(read.arrays), dict(read.strategy))
    assert (again.kept["seen"], again.kept["pair"], list(again.kept["by node"])) == ([0, 3], (1, 5), [7])
    assert again.kept["by node"][7].tolist() == again.array.tolist() == [1, 1]
    again.see()
    again.counts["new"] += 1  # still a defaultdict
    assert again.counts == {"rounds": 2, "new": 1}


@pytest.mark.parametrize(
    ("before", "after"),
    [(0.0, -0.0), (1, True), ([1], (1,)), ({"a": 1}, {"a": 2}), (np.zeros(2), np.zeros(3)), (1, 1.0)],
)
def test_any_change_of_bits_is_captured(before: object, after: object) -> None:
    strategy = Remembering({"value": before})
    state = StrategyState(strategy)
    strategy.kept["value"] = after
    assert list(state.capture()[1]) == ["kept"]


@pytest.mark.parametrize(
    ("strategy", "single"), [("FedAvg", False), ("FedAdam", False), ("Krum", True), ("FedMedian", True)]
)
def test_the_summary_says_whether_nodes_send_single_updates(strategy: str, single: bool) -> None:
    assert _sends_single_updates(RunConfig.checked({"strategy": strategy})) == single
