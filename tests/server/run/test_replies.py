"""A reply that is not laid out as one ends in a sentence that names the node."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Error, RecordDict

from fedlm.config import RunConfig
from fedlm.errors import CohortError, ConfigError, FedLMError, VaultError
from fedlm.messages.discovery import DiscoveryReply
from fedlm.messages.evaluation import ClientFigures, GroupFigures
from fedlm.messages.fields import pseudonym_bytes, weights_record
from fedlm.types import TextMetrics
from server.engines.local import take_identity
from server.run.discovery import discover
from server.run.evaluation import evaluate_clients
from server.run.federation import Federation
from server.run.population import Population
from server.store.run_folder import RunFolder
from tests.support.nodes import Answer, Nodes

pytestmark = pytest.mark.flower
NODE, CLIENTS = 7, np.array([3, 5], np.uint64)
WEIGHTS = (np.zeros(3, np.float32),)


@pytest.fixture(autouse=True)
def identity() -> None:
    take_identity()


def told() -> RecordDict:
    metrics = [TextMetrics(1.5, 1, 3, 3), TextMetrics(float("nan"), 0, 3, 3)]
    return ClientFigures(CLIENTS, metrics).content()


def group() -> RecordDict:
    return GroupFigures.of([TextMetrics(1.5, 1, 3, 3)] * 2, 1).content()


def no_figures(content: RecordDict) -> None:
    del content["metrics"]


def no_tokens(content: RecordDict) -> None:
    del content["metrics"]["tokens"]


def negative(content: RecordDict) -> None:
    of_clients = isinstance(content["metrics"]["tokens"], list)
    content["metrics"]["tokens"] = [3, -3] if of_clients else -3


def one_figure(content: RecordDict) -> None:
    content["metrics"]["tokens"] = [3]


def other_client(content: RecordDict) -> None:
    content["config"]["clients"] = pseudonym_bytes(np.array([3, 6], np.uint64))


def half_a_client(content: RecordDict) -> None:
    content["config"]["clients"] = b"\x00" * 15


def words(content: RecordDict) -> None:
    content["config"]["clients"] = "3, 5"


def no_count_of_losses(content: RecordDict) -> None:
    content["metrics"]["histogram"] = [float("inf")]


OF_CLIENTS = [no_figures, no_tokens, negative, one_figure, other_client, half_a_client, words]
OF_GROUP = [no_figures, no_tokens, negative, no_count_of_losses]


def evaluated(answer: Answer) -> dict[int, TextMetrics]:
    population = Population.merge([(CLIENTS, {})], [(b"vault", NODE)])
    return evaluate_clients(Nodes(answer), population, "{}", 4, WEIGHTS, CLIENTS, 9.0)


def test_an_honest_evaluation_is_taken() -> None:
    assert set(evaluated(lambda message: told())) == {3, 5}
    assert evaluated(lambda message: group()) == {NODE: TextMetrics(3.0, 2, 6, 6)}


@pytest.mark.parametrize(("make", "damage"), [(told, d) for d in OF_CLIENTS] + [(group, d) for d in OF_GROUP])
def test_a_damaged_evaluation_is_one_sentence_that_names_the_node(
    make: Callable[[], RecordDict], damage: Callable[[RecordDict], None]
) -> None:
    content = make()
    damage(content)
    with pytest.raises(CohortError, match=rf"Evaluation after round 4 failed: the reply of node {NODE} was refused"):
        evaluated(lambda message: content)


@pytest.mark.parametrize(("code", "kind"), [(2, ConfigError), (3, VaultError), (4, CohortError), (1, FedLMError)])
def test_an_evaluation_that_fails_has_the_code_that_it_has_at_the_node(code: int, kind: type[FedLMError]) -> None:
    with pytest.raises(kind, match=r"Evaluation after round 4 failed: it does not open\."):
        evaluated(lambda message: Error(code, "it does not open."))


def clients() -> RecordDict:
    return DiscoveryReply(b"vault", CLIENTS, {"train": np.array([5, 6], np.uint32)}).content()


def no_vault(content: RecordDict) -> None:
    del content["config"]


def no_pseudonyms(content: RecordDict) -> None:
    del content["clients"]["pseudonyms"]


def floats(content: RecordDict) -> None:
    content["clients"]["pseudonyms"] = Array(np.array([3.0, 5.0]))


def one_count(content: RecordDict) -> None:
    content["clients"]["train"] = Array(np.array([5], np.uint32))


def negative_count(content: RecordDict) -> None:
    content["clients"]["documents"] = Array(np.array([5, -1]))


def huge_count(content: RecordDict) -> None:
    content["clients"]["train"] = Array(np.array([2**62, 1]))


def no_weights(content: RecordDict) -> None:
    content["arrays"] = ArrayRecord({"0": Array("float32", (3,), "numpy.ndarray", b"no array")})


@pytest.mark.parametrize("damage", [no_vault, no_pseudonyms, floats, one_count, negative_count, huge_count, no_weights])
@pytest.mark.parametrize("wants_weights", [True, False])
def test_a_damaged_discovery_is_refused(damage: Callable[[RecordDict], None], wants_weights: bool) -> None:
    content = clients()
    content["arrays"] = weights_record(WEIGHTS)
    discover(Nodes(lambda message: content), "{}", 9.0, wants_weights=wants_weights)
    damage(content)
    with pytest.raises(CohortError, match=f"node {NODE} about its clients was refused"):
        discover(Nodes(lambda message: content), "{}", 9.0, wants_weights=wants_weights)


def test_initial_weights_are_read_if_they_are_there() -> None:
    content = clients()
    assert discover(Nodes(lambda message: content), "{}", 9.0, wants_weights=False).initial == ()
    with pytest.raises(CohortError, match="No node sent the initial weights"):
        discover(Nodes(lambda message: content), "{}", 9.0)
    content["arrays"] = weights_record(WEIGHTS)
    (found,) = discover(Nodes(lambda message: content), "{}", 9.0).initial
    assert found.tolist() == [0, 0, 0]


def test_a_run_whose_node_tells_nonsense_about_its_clients_ends_in_a_sentence(tmp_path: Path) -> None:
    content, config = clients(), RunConfig()
    floats(content)
    folder = RunFolder.create(tmp_path / "run", config)
    with pytest.raises(CohortError, match=f"node {NODE} about its clients was refused"):
        Federation(Nodes(lambda message: content), config, folder, lambda line: None)
