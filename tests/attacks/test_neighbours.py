"""Neighbouring data sets under differential privacy: what other nodes and the run's public files show of one client elsewhere.

One vault has 12 or 13 clients. The 13th adds nothing to the sums, and the noise is reproducible, so every difference that is
left is one that no noise covers.
"""

import re

import numpy as np
import pytest
from flwr.app import Message, RecordDict

from fedlm.config import RunConfig
from fedlm.messages.evaluation import EvaluateRequest
from fedlm.messages.training import TrainRequest
from server.engines.local import take_identity
from server.engines.network import NetworkEngine
from server.run.evaluation import sample_clients
from tests.support.grids import MemoryGrid
from tests.support.neighbours import (
    NODES,
    SETTINGS,
    Recorded,
    break_training_text,
    clients_asked,
    pseudonyms,
    public_files,
    run_over,
    seal,
)

pytestmark = [pytest.mark.slow, pytest.mark.flower]
PRIVATE = {
    "mechanism": "gaussian",
    "weighting": "uniform",
    "max_client_tokens": 10**6,
    "clip_norm": 0.5,
    "noise_multiplier": 1.0,
    "sampling_rate": 0.8,
    "cohort_size": 16,
    "eval_clients": 12,
    "reproducible": True,
}
FIRST, SECOND = [f"a{i}" for i in range(12)], [f"b{i}" for i in range(8)]
TIMES = re.compile(rb'\d+(\.\d+)? ?s\b|"seconds": [\d.]+')


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Recorded, Recorded]:
    """Returns the further client, the run without it, and the run with it."""
    place = tmp_path_factory.mktemp("neighbours")
    without, with_one, other = (
        seal(place / "12", FIRST),
        seal(place / "13", [*FIRST, "more"]),
        seal(place / "b", SECOND),
    )
    (more,) = pseudonyms(with_one) - pseudonyms(without)
    break_training_text(with_one, more)
    config = RunConfig.checked({**SETTINGS, **PRIVATE})
    with pytest.MonkeyPatch.context() as patch:
        few = run_over([without, other], place / "few", config, patch)
        many = run_over([with_one, other], place / "many", config, patch)
    return more, few, many


def test_the_further_client_is_asked_to_train_and_to_be_evaluated(runs: tuple[int, Recorded, Recorded]) -> None:
    """Otherwise the tests below compare two equal runs."""
    more, _, many = runs
    for kind in (TrainRequest.kind, EvaluateRequest.kind):
        assert any(more.to_bytes(8, "little") in asked for asked in clients_asked(many, kind))


def test_the_other_node_gets_the_same_bytes(runs: tuple[int, Recorded, Recorded]) -> None:
    _, few, many = runs
    assert len(few.sent[NODES[1]]) > 6
    assert few.sent[NODES[1]] == many.sent[NODES[1]]


def test_the_public_files_are_the_same(runs: tuple[int, Recorded, Recorded]) -> None:
    _, few, many = runs
    one, two = public_files(few.folder.path), public_files(many.folder.path)
    assert set(one) == set(two) >= {"metrics.jsonl", "ledger.json", "summary.json", "report.html", "model.keras"}
    for name, content in one.items():
        assert TIMES.sub(b"", content) == TIMES.sub(b"", two[name]), name


def test_whether_a_client_is_evaluated_does_not_depend_on_the_others() -> None:
    """Of a sample of fixed size, each further client with a low hash takes another one's place."""
    config, key = RunConfig.checked({**SETTINGS, **PRIVATE}), bytes(32)
    everyone = np.arange(1, 41, dtype=np.uint64) * np.uint64(2**58 + 1)
    sampled = set(sample_clients(config, key, everyone).tolist())
    assert 10 < len(sampled) < 35  # at the public rate 12 / (16 / 0.8)
    for one in everyone:
        without = set(sample_clients(config, key, everyone[everyone != one]).tolist())
        assert without == sampled - {int(one)}


def test_how_many_messages_others_get_is_not_in_a_message() -> None:
    take_identity()

    def names(*nodes: int) -> list[str]:
        engine = NetworkEngine(MemoryGrid(lambda message: [], NODES), "run")
        engine._session = ""
        return [engine._chunk(Message(RecordDict(), node, "train")).name for node in nodes]

    few, many = names(7, 8, 8), names(7, 7, 8, 7, 8)
    assert few[1:] == [many[2], many[4]] and len({*many}) == 5
