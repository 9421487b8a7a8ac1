"""A node that lies in its reply: what it can add to a round is bounded, and other nodes' clients keep their part."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from fedlm.aggregation.base import Payload, RoundResult
from fedlm.aggregation.bounds import MAX_TOKENS, Bounds
from fedlm.aggregation.exact import LIMIT, ExactSum, NamedSum
from fedlm.aggregation.open import Open
from fedlm.aggregation.registry import build_aggregation
from fedlm.algorithms.registry import build_algorithm
from fedlm.config import RunConfig
from fedlm.errors import CohortError, ConfigError
from fedlm.messages.discovery import DiscoveryReply
from fedlm.messages.evaluation import HISTOGRAM_BINS, ClientFigures, GroupFigures
from fedlm.messages.training import TrainRequest, payload_content
from fedlm.messages.vocabulary import VocabularyReply, VocabularyRequest
from fedlm.privacy.mechanisms.registry import build_mechanism
from fedlm.spec import Spec
from fedlm.types import TextMetrics, Weights
from server.engines.local import take_identity
from server.run.bounds import client_bounds
from server.run.evaluation import evaluate_clients, total_of
from server.run.population import Population
from server.run.release import OpenRelease, PrivateRelease
from server.run.round import Round, Setting, Stages
from server.run.strategies import ServerOptimizer, build_strategy
from server.run.vocabulary import settle_vocabulary
from server.store.run_folder import RunFolder
from tests.support.nodes import Nodes

pytestmark = pytest.mark.flower
HONEST, LIAR = 7, 8
CLIENTS = {HONEST: np.arange(1, 4, dtype=np.uint64), LIAR: np.arange(4, 7, dtype=np.uint64)}
EVERYONE = np.arange(1, 7, dtype=np.uint64)
WEIGHTS: Weights = (np.zeros(3, np.float32), np.zeros((), np.float32))
UPDATE: Weights = (np.full(3, 0.5, np.float32), np.full((), -0.25, np.float32))


@pytest.fixture(autouse=True)
def identity() -> None:
    take_identity()


def honest(message: Message, weight: int) -> Payload:
    """Returns the sum over the clients of a request, each with the same update and ten tokens."""
    total, metrics = ExactSum.zeros_like(WEIGHTS), TextMetrics()
    for _ in TrainRequest.read(message.content).clients:
        total.add(UPDATE, weight, len(EVERYONE))
        metrics += TextMetrics(20.0, 3, 10, 10)
    return Open({}).payload(total, metrics)


def trained(lie: Callable[[Payload], Payload], release: Any = None, **keys: Any) -> tuple[Weights, RoundResult]:
    """Runs a round of two vaults, one of whose nodes lies."""
    config = RunConfig.checked({"cohort_size": 6, **keys})

    def answer(message: Message) -> RecordDict:
        payload = honest(message, 1 if release or config.weighting == "uniform" else 10)
        return payload_content(lie(payload) if message.metadata.dst_node_id == LIAR else payload)

    stages = Stages(
        build_algorithm(Spec("fedavg", {})),
        build_aggregation(Spec("open", {})),
        release or OpenRelease(config, EVERYONE),
        ServerOptimizer(build_strategy("FedAvg")),
    )
    told = [(clients, {}) for clients in CLIENTS.values()]
    population = Population.merge(told, [(bytes([node]), node) for node in CLIENTS])
    loop = Round(Nodes(answer, tuple(CLIENTS)), stages, population, Setting("{}", 1, 1, 0, 9.0))
    return loop.run(1, WEIGHTS, EVERYONE)


def numbers(**change: float) -> Callable[[Payload], Payload]:
    named = {k.replace("_", "-"): v for k, v in change.items()}
    return lambda payload: Payload(payload.vectors, {**payload.numbers, **named})


def sums(value: int, **change: float) -> Callable[[Payload], Payload]:
    def lie(payload: Payload) -> Payload:
        vectors = {"update": tuple(np.full(w.shape, value, np.int64) for w in WEIGHTS)}
        return Payload(vectors, numbers(**change)(payload).numbers)

    return lie


NOTHING = {"weight": 0, "clients": 0, "failed": 3, "loss_sum": 0.0, "correct": 0, "tokens": 0, "characters": 0}
LIES = {
    "a weight of 1e13": numbers(weight=1e13),
    "a weight of 2**62": numbers(weight=2**62),
    "a weight of half a token": numbers(weight=0.5),
    "a weight just above the bound": numbers(weight=3 * MAX_TOKENS + 1),
    "sums of 2**62": sums(2**62),
    "sums of -2**63": sums(-(2**63)),
    "sums just above the bound": sums(3 * (LIMIT // 6) + 1),
    "sums of nobody": sums(1, **NOTHING),
    "sums of a weight of 0": sums(1, weight=0),
    "figures of nobody": numbers(**{**NOTHING, "tokens": 1}),
    "a loss of nobody": numbers(**{**NOTHING, "loss_sum": 1.0}),
    "1e18 tokens": numbers(tokens=1e18),
    "more tokens than the bound": numbers(tokens=3 * MAX_TOKENS + 1),
    "more right guesses than tokens": numbers(correct=31),
    "1e18 characters": numbers(characters=1e18),
    "more characters than tokens": numbers(characters=31),  # in a vocabulary of characters
    "a negative loss": numbers(loss_sum=-1.0),
    "a loss that is no number": numbers(loss_sum=math.nan),
    "an infinite loss": numbers(loss_sum=math.inf),
    "a loss of 1e308": numbers(loss_sum=1e308),
    "more clipped updates than clients": numbers(below=4),
    "a client more": numbers(clients=4),
    "a client less": numbers(clients=2),
    "a failure more": numbers(failed=1),
    "a failure instead of a client more": numbers(clients=4, failed=-1),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_and_the_others_train_on(lie: str) -> None:
    weights, result = trained(LIES[lie])
    assert (result.refused, result.lost, result.total.clients) == (1, {4, 5, 6}, 3)
    assert [w.tobytes() for w in weights] == [u.tobytes() for u in UPDATE]  # as if the liar had not been there
    assert result.metrics == TextMetrics(60.0, 9, 30, 30) and result.total.weight == 30


def test_the_truth_is_taken() -> None:
    weights, result = trained(lambda payload: payload)
    assert (result.refused, result.lost, result.total.clients) == (0, frozenset(), 6)
    assert [w.tobytes() for w in weights] == [u.tobytes() for u in UPDATE]
    failed = sums(0, **NOTHING)
    assert trained(failed)[1].refused == 0 and trained(failed)[1].total.clients == 3


@pytest.mark.parametrize(
    ("weighting", "fits", "lies"),
    [
        ("uniform", (3,), (0, 2, 4, 3e12)),
        ("capped(tokens=20)", (0, 60), (61, 1e12)),
        ("tokens", (0, 3 * 2**31), (3 * 2**31 + 1,)),
    ],
)
def test_a_weight_is_bounded_by_the_weighting(weighting: str, fits: tuple[int, ...], lies: tuple[float, ...]) -> None:
    for weight in (*fits, *lies):
        _, result = trained(sums(0, weight=weight), weighting=weighting)
        assert result.refused == (weight in lies), weight


def private(mechanism: str, **keys: Any) -> RunConfig:
    values = {
        "mechanism": mechanism,
        "weighting": "uniform",
        "clip_norm": 1.0,
        "noise_multiplier": 0.5,
        "max_client_tokens": 10**6,
    }
    return RunConfig.checked({**values, "sampling_rate": 1.0, "cohort_size": 6, "reproducible": True, **keys})


MOST = math.ceil(2**24 + math.sqrt(4) / 2)  # C 2**24, and half a unit of rounding in each of four coordinates


def along(*values: int) -> Callable[[Payload], Payload]:
    """Returns the lie that each client adds these values to the first coordinates."""

    def lie(payload: Payload) -> Payload:
        vector = np.zeros(3, np.int64)
        vector[: len(values)] = values
        update = (vector * int(payload.numbers["clients"]), np.zeros((), np.int64))
        return Payload({"update": update}, payload.numbers)

    return lie


@pytest.mark.parametrize(
    ("values", "is_refused"),
    [
        ((MOST,), False),
        ((-MOST,), False),
        ((MOST + 1,), True),
        ((-MOST - 1,), True),
        ((2**50,), True),
        ((MOST, MOST, MOST), True),  # each coordinate is possible, and the norm is not
        ((MOST // 2, MOST // 2, MOST // 2), False),
    ],
)
def test_under_a_mechanism_a_reply_is_bounded_by_the_sensitivity(
    tmp_path: Path, values: tuple[int, ...], is_refused: bool
) -> None:
    """What is longer than the clipped norm is no client's update; its chunk is lost, and the round releases nothing."""
    release = PrivateRelease(private("gaussian"), tmp_path, EVERYONE, WEIGHTS)
    _, result = trained(along(*values), release)
    assert (result.refused, result.total.clients) == ((1, 3) if is_refused else (0, 6))
    assert result.is_released != is_refused


def test_under_noise_of_the_nodes_figures_may_be_constants_and_sums_may_be_noisy() -> None:
    config = private("local")
    mechanism = build_mechanism(config.privacy, 4)
    bounds = client_bounds(config, mechanism)
    std, reach = mechanism.node_std, mechanism.bound
    assert (bounds.coordinate, bounds.noise_std, bounds.weights) == (reach, std, (0, 1))

    def told(value: int, clients: int = 3, failed: int = 0) -> None:
        total = ExactSum(tuple(np.full(w.shape, value, np.int64) for w in WEIGHTS), 0, clients, failed)
        bounds.check(total, TextMetrics(), asked=3, cohort=6)

    edge = 3 * reach + math.ceil(40 * std * math.sqrt(3))
    told(edge)
    told(-edge)
    told(math.ceil(40 * std * math.sqrt(3)), 0, 3)  # noise of clients that failed
    for lie in (edge + 1, -edge - 1, 2**62, -(2**63)):
        with pytest.raises(ValueError, match="sums are out of range"):
            told(lie)


def test_numbers_of_further_sums_add_up_to_a_float() -> None:
    """Figures are floats: two numbers just below the largest float would end the round that divides their sum."""
    zeros = (np.zeros(1, np.int64),)
    for number, clients, is_refused in (
        (2**200, 1, False),
        (2**200 + 1, 1, True),
        (int(1.7e308), 1, True),
        (1, 0, True),
    ):
        total = ExactSum(zeros, clients, clients, 1 - clients, further={"drift": NamedSum(zeros, {"norms": number})})
        with pytest.raises(ValueError, match="further sums is out of range") if is_refused else nullcontext():
            Bounds().check(total, TextMetrics(), asked=1, cohort=1)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.integers(1, 100))
def test_what_was_checked_adds_up_without_overflow(chunks: list[int], cohort_size: int) -> None:
    """The largest sum that the check lets through, from every chunk of a cohort of any size."""
    bounds, cohort = Bounds(LIMIT // cohort_size), sum(chunks)
    each, added = min(bounds.coordinate, LIMIT // cohort), 0
    for clients in chunks:
        total = ExactSum((np.array([clients * each]),), clients, clients)
        bounds.check(total, TextMetrics(), asked=clients, cohort=cohort)
        added += clients * each
        with pytest.raises(ValueError, match="sums are out of range"):
            more = ExactSum((np.array([clients * each + 1]),), clients, clients)
            bounds.check(more, TextMetrics(), asked=clients, cohort=cohort)
    assert added <= LIMIT < 2**63


@pytest.mark.parametrize(("clients", "multiplier"), [(7, 1.0), (10**6, 0.5), (100, 10.0)])
def test_under_noise_of_the_nodes_replies_of_single_clients_add_up_as_well(clients: int, multiplier: float) -> None:
    """The split into chunks is the server's: it may be one client a chunk, with 40 standard deviations each."""
    settings = private("local", noise_multiplier=multiplier).privacy
    edge = 2.0**62 / 2.0**24 / clients / (1 + 40 * multiplier)
    settings.check_overflow(edge * (1 - 1e-6), 4, clients)
    with pytest.raises(ConfigError, match="overflow"):
        settings.check_overflow(edge * (1 + 1e-6), 4, clients)


def evaluated(answers: dict[int, RecordDict], *, one_vault: bool = False) -> dict[int, TextMetrics]:
    """Returns the figures of an evaluation over the two vaults."""
    told = [(clients, {}) for clients in CLIENTS.values()]
    population = Population.merge(told, [(bytes([node]), node) for node in CLIENTS])
    nodes = Nodes(lambda message: answers[message.metadata.dst_node_id], tuple(CLIENTS))
    nodes.one_vault = one_vault  # type: ignore[misc]
    return evaluate_clients(nodes, population, "{}", 4, WEIGHTS, EVERYONE, 9.0)


TEXT = TextMetrics(6.0, 1, 3, 3)
TRUTH = GroupFigures.of([TEXT] * 3, 1)


def group(**change: Any) -> RecordDict:
    return replace(TRUTH, total=replace(TRUTH.total, **change)).content()


def each(*metrics: TextMetrics, clients: Sequence[int] = (4, 5, 6)) -> RecordDict:
    return ClientFigures(np.array(clients, np.uint64), metrics).content()


FIGURES = {
    "1e18 tokens": group(tokens=1e18),
    "more tokens than the bound": group(tokens=3 * MAX_TOKENS + 1),
    "more right guesses than tokens": group(correct=10),
    "1e18 characters": group(characters=1e18),
    "a negative loss": group(loss_sum=-1.0),
    "a loss of minus infinity": group(loss_sum=-math.inf),
    "a loss of 1e308": group(loss_sum=1e308),
    "a loss of no tokens": group(tokens=0, correct=0, characters=0),
    "an infinite loss of no tokens": group(tokens=0, correct=0, characters=0, loss_sum=math.inf),
    "a loss that is no number, alone": group(loss_sum=math.nan),
    "an infinite loss, alone": group(loss_sum=math.inf),
    "a histogram of too many clients": replace(TRUTH, histogram=(4, *[0] * (HISTOGRAM_BINS - 1))).content(),
    "a histogram of 2**62 clients": replace(TRUTH, histogram=(2**62, *[0] * (HISTOGRAM_BINS - 1))).content(),
    "a short histogram": replace(TRUTH, histogram=(3,)).content(),
    "a long histogram": replace(TRUTH, histogram=(3, *[0] * HISTOGRAM_BINS)).content(),
    "a client twice": each(TEXT, TEXT, TEXT, TEXT, clients=(4, 4, 5, 6)),
    "a client less": each(TEXT, TEXT, clients=(4, 5)),
    "another's client": each(TEXT, TEXT, TEXT, clients=(1, 4, 5)),
    "a client of 1e18 tokens": each(TEXT, TEXT, replace(TEXT, tokens=10**18)),
    "a client of no number": each(TEXT, TEXT, replace(TEXT, loss_sum=math.nan)),
}


@pytest.mark.parametrize("lie", FIGURES)
def test_a_lie_about_held_out_text_is_refused_by_the_name_of_its_node(lie: str) -> None:
    with pytest.raises(CohortError, match=f"the reply of node {LIAR} was refused: "):
        evaluated({HONEST: TRUTH.content(), LIAR: FIGURES[lie]})


def test_the_truth_about_held_out_text_is_taken() -> None:
    assert total_of(evaluated({HONEST: TRUTH.content(), LIAR: TRUTH.content()})) == TextMetrics(36.0, 6, 18, 18)
    assert len(evaluated({HONEST: TRUTH.content(), LIAR: each(TEXT, TEXT, TextMetrics())})) == 4
    diverged = group(loss_sum=math.nan)  # at every node, or in a simulation, whose nodes are one owner's
    assert math.isnan(total_of(evaluated({HONEST: diverged, LIAR: diverged})).loss_sum)
    assert math.isnan(total_of(evaluated({HONEST: TRUTH.content(), LIAR: diverged}, one_vault=True)).loss_sum)


def test_a_client_with_the_id_of_a_node_replaces_no_figures() -> None:
    """Figures of a whole node stand under its id, those of single clients under their pseudonyms."""
    told = [(np.array([1], np.uint64), {}), (np.array([HONEST], np.uint64), {})]
    population = Population.merge(told, [(bytes([node]), node) for node in CLIENTS])
    answers = {HONEST: GroupFigures(TEXT).content(), LIAR: each(TextMetrics(), clients=(HONEST,))}
    nodes = Nodes(lambda message: answers[message.metadata.dst_node_id], tuple(CLIENTS))
    with pytest.raises(CohortError, match="are also those of another node"):
        evaluate_clients(nodes, population, "{}", 4, WEIGHTS, population.pseudonyms, 9.0)


def learned(folder: Path, counts: dict[str, int]) -> RunConfig:
    """Returns the settled configuration of a run whose vault of three clients reports these counts of words."""
    config = RunConfig.checked({"vocabulary": "private(epsilon=1.0, words=2)"})

    def answer(message: Message) -> RecordDict:
        if message.metadata.message_type == VocabularyRequest.kind:
            return VocabularyReply(counts).content()
        return DiscoveryReply(b"v", CLIENTS[LIAR]).content()

    return settle_vocabulary(Nodes(answer), config, RunFolder.create(folder / "run", config))


@pytest.mark.parametrize(
    "counts", [{"tea": 2**62}, {"tea": 90, "cake": -(2**63)}, dict.fromkeys(map(str, range(7)), 90)]
)
def test_counts_of_words_that_so_many_clients_cannot_have_are_refused(tmp_path: Path, counts: dict[str, int]) -> None:
    with pytest.raises(CohortError, match="its counts are out of range for so many clients"):
        learned(tmp_path, counts)


def test_counts_of_as_many_words_as_the_clients_have_are_taken(tmp_path: Path) -> None:
    words = {f"word{n}": 90 for n in "abcdef"}  # three clients, two words each
    assert set(words) <= set(learned(tmp_path, words).vocab.symbols)
