"""The round loop: every client once, an exact sum, what is lost told, and under privacy all chunks or no release."""

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
from fedlm.errors import CohortError, DivergedError, PluginFailure
from fedlm.messages.training import TrainRequest, payload_content
from fedlm.privacy.clipping import clip, contribution
from fedlm.spec import Spec
from fedlm.types import Pseudonyms, TextMetrics, Weights
from server.engines.local import take_identity
from server.run.failures import all_failures, failures_of
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
    return Round(nodes, stages, population, Setting("{}", 1, 1, 0, 9.0))


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


def failed(message: Message, unopened: int) -> RecordDict:
    """Returns the reply of a node that could train none of its clients."""
    total = ExactSum.zeros_like(WEIGHTS)
    total.failed, total.unopened = len(asked(message)), unopened
    return payload_content(Open({}).payload(total, TextMetrics()))


def clipped(clients: Sequence[int]) -> ExactSum:
    """Returns the sum of the clients' updates under `PRIVATE`: norms of at most 1, weights of 1."""
    total, settings = ExactSum.zeros_like(WEIGHTS), RunConfig.checked({**PRIVATE, "sampling_rate": 1.0}).privacy
    for client in clients:
        bounded = clip(update_of(client), 1.0)
        total.add_integers(contribution(bounded, 1, settings), 1, below=bounded.was_below)
    return total


def private(message: Message) -> RecordDict:
    return payload_content(Open({}).payload(clipped(asked(message)), TextMetrics()))


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


def test_clients_whose_loss_is_replayed_are_not_asked() -> None:
    nodes = Nodes(honest, (7, 8))
    _, result = round_of(nodes).run(1, WEIGHTS, EVERYONE, frozenset({2, 5}))
    assert sorted(c for message in nodes.asked for c in asked(message)) == [1, 3, 4, 6, 7]
    assert result.lost == {2, 5} and result.total.failed == 2


def test_a_round_in_which_no_client_was_trained_says_why() -> None:
    none = "Round 3: none of 7 clients could be trained: "
    for answer, says in (
        (Error(1, "The node failed."), "7 got no usable reply (The node failed)."),
        (0, "the update of 7 was not finite, or too large (lower the learning rates, "),
        (7, "the text of 7 could not be opened (see `fedlm vault verify`)."),
        (2, "the text of 2 could not be opened (see `fedlm vault verify`); the update of 5 was not"),
    ):
        with pytest.raises(CohortError) as caught:
            round_of(Nodes(lambda m, a=answer: a if isinstance(a, Error) else failed(m, a))).run(3, WEIGHTS, EVERYONE)
        assert str(caught.value).startswith(none + says)
        assert isinstance(caught.value, DivergedError) == says.startswith("the update of 7")  # and nothing else failed


@pytest.mark.parametrize(
    ("method", "returned", "says"),
    [
        ("complete", lambda answers: [], "of 7 clients it left out 7 and added 0"),
        ("complete", lambda answers: answers[1:], "and added 0"),
        ("complete", lambda answers: [*answers, answers[0]], "it left out 0 and added"),
        ("complete", lambda answers: [None], "of 7 clients it left out 7"),
        ("chunks", lambda chunks: chunks[:1], "and added 0"),
        ("chunks", lambda chunks: [*chunks, chunks[0]], "it left out 0 and added"),
    ],
)
def test_an_aggregation_that_loses_or_doubles_a_client_is_refused(
    method: str, returned: Callable[[Sequence[object]], Sequence[object]], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = 1 if method == "complete" else 0
    monkeypatch.setattr(Open, method, lambda self, *given: returned(given[place]))
    with pytest.raises(PluginFailure) as caught:
        round_of(Nodes(honest, (7, 8))).run(3, WEIGHTS, EVERYONE)
    assert f"failed in {method}(): " in str(caught.value) and says in str(caught.value)


def test_a_round_counts_what_failed_by_its_cause() -> None:
    def answer(message: Message) -> RecordDict | Error:
        if message.metadata.dst_node_id == 8:
            return Error(1, "The node failed.")
        return (
            trained(TrainRequest.read(message.content).clients)
            if message.metadata.dst_node_id == 7
            else failed(message, 1)
        )

    _, result = round_of(Nodes(answer, (7, 8, 9))).run(1, WEIGHTS, EVERYONE)
    found = failures_of(result)
    assert found.pop("problem") == "The node failed." and sum(found.values()) == result.total.failed
    assert found["unopened"] == 1 and found["no_reply"] == len(result.lost) and set(found) <= {*found, "unusable"}
    lines = [{"failed": result.total.failed, "failures": failures_of(result)}, {"failed": 2}, {"failed": 0}]
    lines.append({"failed": 0, "failures": {"problem": "Another one."}})
    assert all_failures(lines) == {**found, "unknown": 2, "problem": "The node failed."}
    assert (
        all_failures([{"round": 0}]) == {} and failures_of(round_of(Nodes(honest)).run(1, WEIGHTS, EVERYONE)[1]) == {}
    )


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
    sentence = rf"Round 3: the algorithm or the strategy returned weights that {says}"
    with pytest.raises(DivergedError if says == "are not finite" else CohortError, match=sentence):
        round_of(Nodes(honest)).run(3, WEIGHTS, EVERYONE)


PRIVATE = {
    "mechanism": "gaussian",
    "weighting": "uniform",
    "max_client_tokens": 10**6,
    "clip_norm": 1.0,
    "noise_multiplier": 1.0,
}


def private_round(nodes: Nodes, folder: Path) -> tuple[Weights, RoundResult, PrivateRelease]:
    config = RunConfig.checked({**PRIVATE, "sampling_rate": 1.0, "cohort_size": 7})
    release = PrivateRelease(config, folder, EVERYONE, WEIGHTS)
    return (*round_of(nodes, release=release).run(1, WEIGHTS, EVERYONE), release)


@pytest.mark.parametrize("is_damaged", [False, True])
def test_under_privacy_a_round_that_loses_a_chunk_is_charged_and_releases_nothing(
    tmp_path: Path, is_damaged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sensitivity counts one client: it may not decide whether the others of its chunk are in the sum."""
    monkeypatch.setattr(PrivateRelease, "mean", pytest.fail)  # no noise is drawn
    monkeypatch.setattr(ServerOptimizer, "step", pytest.fail)

    def answer(message: Message) -> RecordDict | Error:
        if 4 not in asked(message):
            return private(message)
        return RecordDict() if is_damaged else Error(1, "The node failed.")

    nodes = Nodes(answer, (7, 8))
    weights, result, release = private_round(nodes, tmp_path)
    assert weights is WEIGHTS and not result.is_released and 4 in result.lost and result.refused == is_damaged
    assert len(nodes.asked) == 2 and len(release.ledger.releases) == 1  # nothing is asked twice


def test_under_privacy_a_round_without_any_client_is_released_and_its_noise_counts(tmp_path: Path) -> None:
    nodes = Nodes(lambda message: failed(message, len(asked(message))), (7, 8))  # no client opened
    weights, result, release = private_round(nodes, tmp_path)
    assert result.total.clients == 0 and result.is_released and not result.lost
    assert len(release.ledger.releases) == 1 and np.any(weights[0] != WEIGHTS[0])


def test_under_privacy_an_empty_cohort_is_released_too(tmp_path: Path) -> None:
    release = PrivateRelease(
        RunConfig.checked({**PRIVATE, "sampling_rate": 0.1, "cohort_size": 7}), tmp_path, EVERYONE, WEIGHTS
    )
    weights, result = round_of(Nodes(honest), release=release).run(1, WEIGHTS, EVERYONE[:0])
    assert result.is_released and np.any(weights[0] != WEIGHTS[0])


def test_under_privacy_nodes_are_told_the_norm_that_was_charged(tmp_path: Path) -> None:
    nodes = Nodes(private)
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
