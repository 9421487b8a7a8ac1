"""A census or an evaluation that is not laid out as one ends in a sentence that names the node."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.serverapp import Grid

from fedlm.aggregation.exact import ExactSum
from fedlm.config import RunConfig
from fedlm.errors import CohortError
from fedlm.messages import wire
from fedlm.messages.replies import checked_census, checked_evaluation, checked_initial
from fedlm.types import TextMetrics
from server.engines.local import take_identity
from server.run import vocabulary
from server.run.federation import Federation
from server.run.population import Population
from server.run.round import CohortStrategy
from server.run.strategies import build_strategy
from server.store.run_folder import RunFolder

pytestmark = pytest.mark.flower
NODE, CLIENTS = 7, np.array([3, 5], np.uint64)
WEIGHTS = (np.zeros(3, np.float32),)


def told() -> RecordDict:
    return wire.evaluation_content(CLIENTS, [TextMetrics(1.5, 1, 3, 3), TextMetrics(float("nan"), 0, 3, 3)])


def group() -> RecordDict:
    return wire.group_content([TextMetrics(1.5, 1, 3, 3)] * 2, 1)


def no_figures(content: RecordDict) -> None:
    del content["metrics"]


def no_tokens(content: RecordDict) -> None:
    del content.metric_records["metrics"]["tokens"]


def negative(content: RecordDict) -> None:
    of_clients = isinstance(content.metric_records["metrics"]["tokens"], list)
    content.metric_records["metrics"]["tokens"] = [3, -3] if of_clients else -3


def one_figure(content: RecordDict) -> None:
    content.metric_records["metrics"]["tokens"] = [3]


def other_client(content: RecordDict) -> None:
    content.config_records["config"]["clients"] = wire.pseudonym_bytes(np.array([3, 6], np.uint64))


def half_a_client(content: RecordDict) -> None:
    content.config_records["config"]["clients"] = b"\x00" * 15


def words(content: RecordDict) -> None:
    content.config_records["config"]["clients"] = "3, 5"


OF_CLIENTS = [no_figures, no_tokens, negative, one_figure, other_client, half_a_client, words]


def test_an_honest_evaluation_is_taken() -> None:
    assert set(checked_evaluation(told(), NODE, CLIENTS)) == {3, 5}
    assert checked_evaluation(group(), NODE, CLIENTS) == {NODE: TextMetrics(3.0, 2, 6, 6)}


class OneNode(Grid):
    """A node that answers each request with a content of a test's."""

    def __init__(self, answer: Callable[[Message], RecordDict]) -> None:
        self._answer = answer

    def get_node_ids(self) -> Iterable[int]:
        return [NODE]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return [Message(self._answer(message), reply_to=message) for message in messages]

    def set_run(self, run: Any) -> None: ...

    run: Any = None
    create_message: Any = None
    push_messages: Any = None
    pull_messages: Any = None


@pytest.mark.parametrize(
    ("make", "damage"), [(told, d) for d in OF_CLIENTS] + [(group, d) for d in (no_figures, no_tokens, negative)]
)
def test_a_damaged_evaluation_is_one_sentence_that_names_the_node(
    make: Callable[[], RecordDict], damage: Callable[[RecordDict], None]
) -> None:
    content = make()
    damage(content)
    take_identity()
    people = Population.merge([(CLIENTS, {})], [(b"vault", NODE)])
    strategy = CohortStrategy(build_strategy("FedAvg"), "{}", people)
    with pytest.raises(CohortError, match=rf"Evaluation after round 4 failed: the reply of node {NODE} was refused"):
        strategy.evaluate(OneNode(lambda message: content), 4, WEIGHTS, CLIENTS, 9.0)


def census() -> RecordDict:
    return wire.census_content(b"vault", CLIENTS, {"train": np.array([5, 6], np.uint32)})


def no_vault(content: RecordDict) -> None:
    del content["config"]


def no_pseudonyms(content: RecordDict) -> None:
    del content.array_records["clients"]["pseudonyms"]


def floats(content: RecordDict) -> None:
    content.array_records["clients"]["pseudonyms"] = Array(np.array([3.0, 5.0]))


def one_count(content: RecordDict) -> None:
    content.array_records["clients"]["train"] = Array(np.array([5], np.uint32))


def negative_count(content: RecordDict) -> None:
    content.array_records["clients"]["documents"] = Array(np.array([5, -1]))


def huge_count(content: RecordDict) -> None:
    content.array_records["clients"]["train"] = Array(np.array([2**62, 1]))


@pytest.mark.parametrize("damage", [no_vault, no_pseudonyms, floats, one_count, negative_count, huge_count])
def test_a_damaged_census_is_refused(damage: Callable[[RecordDict], None]) -> None:
    content = census()
    checked_census(content)
    damage(content)
    with pytest.raises(ValueError, match=r"wrong|not"):
        checked_census(content)
    with pytest.raises(CohortError, match=f"node {NODE} about its clients was refused"):
        vocabulary._census(NODE, content)


def test_initial_weights_are_read_if_they_are_there() -> None:
    content = census()
    assert checked_initial(content) is None
    content["arrays"] = wire.weights_record(WEIGHTS)
    assert checked_initial(content) is not None
    content["arrays"] = ArrayRecord({"0": Array("float32", (3,), "numpy.ndarray", b"no array")})
    with pytest.raises(ValueError, match="do not read"):
        checked_initial(content)


@pytest.mark.parametrize("rule", ["QFedAvg(client_learning_rate=1.0)", "FedTrimmedAvg(beta=0.1)"])
def test_rules_over_single_clients_have_the_same_bits_however_the_clients_are_split(rule: str) -> None:
    """Floats are added in the replies' order: it may follow neither the chunks nor the nodes."""
    take_identity()
    people = np.arange(1, 8, dtype=np.uint64)
    rng = np.random.default_rng(0)
    updates = {int(c): rng.normal(size=3).astype(np.float32) * 10.0 ** rng.integers(-3, 3) for c in people}

    def answer(message: Message) -> RecordDict:
        (client,) = wire.bytes_pseudonyms(message.content.config_records["config"]["clients"])
        total = ExactSum.zeros_like(WEIGHTS)
        total.add((updates[int(client)],), 3, 1)
        return wire.sum_content(total, TextMetrics(float(client) / 3, 1, 3, 3))

    class Mixing(OneNode):
        def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
            replies = list(super().send_and_receive(messages, timeout=timeout))
            return [replies[i] for i in rng.permutation(len(replies))]

    found = set()
    for _ in range(12):
        population = Population.merge([(people, {})], [(b"vault", NODE)])
        strategy = CohortStrategy(build_strategy(rule), "{}", population)
        weights, _, _ = strategy.train_round(Mixing(answer), 1, WEIGHTS, people, 9.0)
        found.add(weights[0].tobytes())
    assert len(found) == 1


def test_a_run_whose_node_tells_nonsense_about_its_clients_ends_in_a_sentence(tmp_path: Path) -> None:
    take_identity()
    content, config = census(), RunConfig()
    floats(content)
    folder = RunFolder.create(tmp_path / "run", config)
    with pytest.raises(CohortError, match=f"node {NODE} about its clients was refused"):
        Federation(OneNode(lambda message: content), config, folder, lambda line: None)
