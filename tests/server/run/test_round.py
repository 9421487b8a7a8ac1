"""The round loop: every client once, an exact sum, what is lost told, and no client that costs another its part."""

import gc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Error, Message, RecordDict

from fedlm.aggregation.base import RoundResult
from fedlm.aggregation.exact import ExactSum
from fedlm.aggregation.open import Open
from fedlm.aggregation.registry import build_aggregation
from fedlm.algorithms.registry import build_algorithm
from fedlm.config import RunConfig
from fedlm.errors import CohortError
from fedlm.messages.training import TrainRequest, payload_content
from fedlm.spec import Spec
from fedlm.types import Pseudonyms, TextMetrics, Weights
from server.engines.local import take_identity
from server.run.population import Population
from server.run.release import OpenRelease, PrivateRelease, ReleaseStage
from server.run.round import Round, Setting, Stages
from server.run.strategies import ServerOptimizer, accepts_mean, build_strategy
from tests.support.nodes import Nodes

pytestmark = pytest.mark.flower
WEIGHTS = (np.zeros(3, np.float32),)


@pytest.fixture(autouse=True)
def identity() -> None:
    take_identity()


EVERYONE = np.arange(1, 8, dtype=np.uint64)


def round_of(nodes: Nodes, *, rule: str = "FedAvg", release: ReleaseStage | None = None) -> Round:
    """Returns the round loop of a run over one vault that all the nodes open."""
    strategy = build_strategy(rule)
    stages = Stages(
        build_algorithm(Spec("fedavg", {})),
        build_aggregation(Spec("open", {}), accepts_mean=accepts_mean(strategy)),
        release or OpenRelease(RunConfig(), EVERYONE),
        ServerOptimizer(strategy),
    )
    vaults = [(b"vault", node) for node in nodes.nodes]
    population = Population.merge([(EVERYONE, {})] * len(vaults), vaults)
    return Round(nodes, stages, population, Setting("{}", 1, 1, 9.0))


def update_of(client: int) -> Weights:
    rng = np.random.default_rng(client)
    return (rng.normal(size=3).astype(np.float32) * np.float32(10.0 ** int(rng.integers(-3, 3))),)


def trained(chunk: Pseudonyms, cohort: int = 7) -> RecordDict:
    """Returns the reply of a node that trained a chunk's clients."""
    total, metrics = ExactSum.zeros_like(WEIGHTS), TextMetrics()
    for client in map(int, chunk):
        total.add(update_of(client), 3, cohort)
        metrics += TextMetrics(client / 4, 1, 3, 3)
    return payload_content(Open({}).payload(total, metrics))


def asked(message: Message) -> list[int]:
    """Returns the clients of a training request."""
    return [int(c) for c in TrainRequest.read(message.content).clients]


def honest(message: Message) -> RecordDict:
    return trained(TrainRequest.read(message.content).clients)


def expected(clients: Sequence[int]) -> ExactSum:
    total = ExactSum.zeros_like(WEIGHTS)
    for client in clients:
        total.add(update_of(client), 3, 7)
    return total


def test_a_round_asks_each_client_once_and_adds_exactly() -> None:
    nodes = Nodes(honest, (7, 8, 9))
    weights, result = round_of(nodes).run(1, WEIGHTS, EVERYONE)
    assert sorted(c for message in nodes.asked for c in asked(message)) == EVERYONE.tolist()
    assert {message.metadata.dst_node_id for message in nodes.asked} == {7, 8, 9}
    assert weights[0].tobytes() == expected(range(1, 8)).mean(WEIGHTS)[0].tobytes()
    assert (result.total.clients, result.total.failed, result.lost, result.refused) == (7, 0, frozenset(), 0)
    assert result.metrics == TextMetrics(7.0, 7, 21, 21)


def too_many_clients(content: RecordDict) -> None:
    content["metrics"]["clients"] = 8


def no_figures(content: RecordDict) -> None:
    del content["metrics"]


@pytest.mark.parametrize("damage", [no_figures, too_many_clients, None])
def test_a_reply_that_is_no_sum_is_refused_and_its_clients_are_lost(
    damage: Callable[[RecordDict], None] | None,
) -> None:
    lost: list[int] = []

    def answer(message: Message) -> RecordDict | Error:
        content = honest(message)
        if message.metadata.dst_node_id == 8:
            lost.extend(asked(message))
            if damage is None:
                return Error(1, "The node failed.")
            damage(content)
        return content

    weights, result = round_of(Nodes(answer, (7, 8, 9))).run(1, WEIGHTS, EVERYONE)
    others = [c for c in EVERYONE.tolist() if c not in lost]
    assert weights[0].tobytes() == expected(others).mean(WEIGHTS)[0].tobytes()
    assert result.lost == frozenset(lost) and lost and result.total.failed == len(lost)
    assert result.refused == (damage is not None)
    reason = "The node failed." if damage is None else "a node's reply was refused: "
    assert len(result.problems) == 1 and result.problems[0].startswith(reason)


def test_clients_whose_loss_is_replayed_are_not_asked_but_bound_the_sum_as_before() -> None:
    nodes = Nodes(honest, (7, 8))
    _, result = round_of(nodes).run(1, WEIGHTS, EVERYONE, frozenset({2, 5}))
    assert sorted(c for message in nodes.asked for c in asked(message)) == [1, 3, 4, 6, 7]
    assert {TrainRequest.read(message.content).cohort for message in nodes.asked} == {7}
    assert result.lost == {2, 5} and result.total.failed == 2


def test_a_round_in_which_no_client_was_trained_says_why() -> None:
    with pytest.raises(CohortError, match=r"Round 3: none of 7 clients could be trained: The node failed\."):
        round_of(Nodes(lambda message: Error(1, "The node failed."))).run(3, WEIGHTS, EVERYONE)
    with pytest.raises(CohortError, match=r"none of 7 clients could be trained: no client's text could be opened"):
        round_of(Nodes(lambda message: trained(EVERYONE[:0]))).run(3, WEIGHTS, EVERYONE)


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ((np.array([0, np.nan, 0], np.float32),), "are not finite"),
        ((np.array([np.inf, 0, 0], np.float32),), "are not finite"),
        ((np.zeros(2, np.float32),), "do not have the model's shapes"),
        ((), "do not have the model's shapes"),
        ((np.zeros(3, np.float32),) * 2, "do not have the model's shapes"),
    ],
)
def test_what_a_plug_in_makes_of_the_mean_is_checked(
    returned: Weights, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServerOptimizer, "step", lambda *_: returned)
    with pytest.raises(CohortError, match=rf"Round 3: the algorithm or the strategy returned weights that {says}"):
        round_of(Nodes(honest)).run(3, WEIGHTS, EVERYONE)


PRIVATE = {"mechanism": "gaussian", "weighting": "uniform", "clip_norm": 1.0, "noise_multiplier": 1.0}


def private_round(nodes: Nodes, folder: Path) -> tuple[Weights, RoundResult, PrivateRelease]:
    config = RunConfig.checked({**PRIVATE, "sampling_rate": 1.0, "cohort_size": 7})
    release = PrivateRelease(config, folder, EVERYONE, WEIGHTS)
    return (*round_of(nodes, release=release).run(1, WEIGHTS, EVERYONE), release)


@pytest.mark.parametrize("is_damaged", [False, True])
def test_under_privacy_a_client_that_fails_costs_no_other_its_part(tmp_path: Path, is_damaged: bool) -> None:
    """Sensitivity counts one client: it may not decide whether the others of its chunk are in the sum."""

    def answer(message: Message) -> RecordDict | Error:
        if 4 not in asked(message):
            return honest(message)
        return RecordDict() if is_damaged else Error(1, "The node failed.")

    nodes = Nodes(answer, (7, 8))
    _, result, release = private_round(nodes, tmp_path)
    assert result.total.clients == 6 and result.lost == {4} and result.refused == is_damaged
    assert result.total.sums[0].tobytes() == expected([1, 2, 3, 5, 6, 7]).sums[0].tobytes()
    again = [message for message in nodes.asked if asked(message) == [4]]
    assert len(again) == 1 and len(nodes.asked) > 2  # its chunk was asked again, client by client
    assert len(release.ledger.releases) == 1  # one release, whatever was asked twice


def test_under_privacy_a_round_without_any_client_is_released_and_its_noise_counts(tmp_path: Path) -> None:
    failed = Nodes(lambda message: Error(1, "The node failed."), (7, 8))
    weights, result, release = private_round(failed, tmp_path)
    assert result.total.clients == 0 and result.lost == frozenset(EVERYONE.tolist())
    assert len(release.ledger.releases) == 1 and np.any(weights[0] != WEIGHTS[0])


def test_under_privacy_nodes_are_told_the_norm_that_was_charged(tmp_path: Path) -> None:
    nodes = Nodes(honest)
    _, _, release = private_round(nodes, tmp_path)
    assert {TrainRequest.read(m.content).clip_norm for m in nodes.asked} == {release.ledger.releases[0].clip_norm}


@pytest.mark.parametrize("rule", ["QFedAvg(client_learning_rate=1.0)", "FedTrimmedAvg(beta=0.1)"])
def test_rules_over_single_clients_have_the_same_bits_however_the_clients_are_split(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Floats are added in the replies' order: it may follow neither the chunks nor the nodes."""
    monkeypatch.setattr(gc, "collect", lambda *_: 0)  # QFedAvg looks for garbage after every reply
    rng = np.random.default_rng(0)
    found = set()
    for attempt in range(12):
        nodes = Nodes(honest, tuple(int(n) for n in rng.permutation(np.arange(7, 8 + attempt % 4))))
        weights, result = round_of(nodes, rule=rule).run(1, WEIGHTS, rng.permutation(EVERYONE))
        assert [len(asked(message)) for message in nodes.asked] == [1] * 7 and len(result.singles) == 7
        found.add(weights[0].tobytes())
    assert len(found) == 1
