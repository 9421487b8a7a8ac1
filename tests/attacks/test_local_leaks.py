"""mechanism=local against the server: beside the noised sum, a node's reply says nothing of a client's text."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, RecordDict
from flwr.common.serde import recorddict_to_proto

from clients.node import Node
from fedlm.config import RunConfig
from fedlm.errors import CohortError, VaultError
from fedlm.messages.evaluation import EvaluateRequest
from fedlm.messages.fields import weights_record
from fedlm.messages.training import TrainRequest, read_payload
from fedlm.privacy.noise import noise_source, with_noise
from fedlm.rng import Purpose, Stream
from fedlm.training.trainer import LocalTrainer
from fedlm.types import Weights
from server.engines.local import take_identity
from tests.support.neighbours import SETTINGS, run_over, seal

pytestmark = [pytest.mark.slow, pytest.mark.flower]
LOCAL = {
    "mechanism": "local",
    "weighting": "uniform",
    "max_client_tokens": 96,
    "clip_norm": 0.5,
    "noise_multiplier": 1.0,
    "sampling_rate": 1.0,
    "reproducible": True,  # the same noise in every reply, so that only the text can make a difference
    "model": "rnn(units=4, layers=1)",
    "seq_len": 12,
    "seed": 3,
}
CLIENTS = np.array([3, 5], np.uint64)


def closed() -> list[str]:
    raise VaultError("It does not open.")


def broken() -> list[str]:
    raise MemoryError


TEXTS: dict[str, Callable[[], list[str]]] = {
    "plain": lambda: ["to be or not to be"],
    "another": lambda: ["that is the question"] * 3,
    "empty": lambda: [],
    "empty documents": lambda: ["", ""],
    "one symbol": lambda: ["q"],
    "the counted word": lambda: ["zzzz"] * 50,
    "very long": lambda: ["words " * 50_000],
    "unknown symbols": lambda: ["\u4e2d\u6587\x00"],
    "does not open": closed,
    "fails otherwise": broken,
    "not even text": lambda: [None],  # type: ignore[list-item]
}


@pytest.fixture(scope="module")
def trainer() -> LocalTrainer:
    take_identity()
    return LocalTrainer(RunConfig.checked(LOCAL))


def reply(
    trainer: LocalTrainer, text: Callable[[], list[str]], weights: Weights | None = None, **more: Any
) -> RecordDict:
    """Returns the reply of a node whose client 5 has this text."""
    texts = {3: lambda: ["a neighbour's text"], 5: text}
    vault = SimpleNamespace(about={}, documents=lambda client: texts[client]())
    node = Node(vault, tells_counts=False)  # type: ignore[arg-type]
    node._trainer = trainer
    config = RunConfig.checked({**LOCAL, **more})
    sent = weights_record(trainer.weights if weights is None else weights)
    request = TrainRequest(config.to_settings(), 1, CLIENTS, sent, {}, {"clip-norm": 0.5})
    return node.answer(Message(request.content(), 2, request.kind))


def test_the_reply_apart_from_the_noised_vector_is_the_same_for_every_text(trainer: LocalTrainer) -> None:
    start, vectors, rests = trainer.weights, set(), set()
    for text in TEXTS.values():
        content = reply(trainer, text, start)
        payload = read_payload(content, start)
        vectors.add(b"".join(v.tobytes() for v in payload.vectors["update"]))
        assert payload.numbers["clients"] == 2 and sum(payload.numbers.values()) == 2
        rests.add(recorddict_to_proto(RecordDict({"metrics": content["metrics"]})).SerializeToString())
        assert set(content) == {"metrics", "vector.update"}
    assert len(rests) == 1 and len(vectors) > 5


def test_what_does_not_train_sends_its_noise_alone(trainer: LocalTrainer) -> None:
    start = trainer.weights
    sums = [read_payload(reply(trainer, text, start), start).vectors["update"] for text in (closed, broken, lambda: [])]
    for other in sums[1:]:
        assert all((a == b).all() for a, b in zip(sums[0], other, strict=True))


def test_a_server_that_crafts_weights_to_count_a_word_reads_nothing(trainer: LocalTrainer) -> None:
    """All biases but one symbol's are far down: each of its occurrences is told apart in the loss. At learning rate 0 the
    update is zero, so the vector is the noise, and the figures were all there was."""
    crafted = [w.copy() for w in trainer.weights]
    counted = trainer.vocab.encode("z")[0]
    crafted[-1][:] = -40.0
    crafted[-1][counted] = 0.0
    said = [
        reply(trainer, TEXTS[t], tuple(crafted), client_optimizer="sgd(learning_rate=0.0)")
        for t in ("plain", "the counted word")
    ]
    assert said[0]["metrics"] == said[1]["metrics"] and said[0]["metrics"]["loss-sum"] == 0.0
    zeros = tuple(np.zeros(w.shape, np.int64) for w in crafted)
    std = RunConfig.checked(LOCAL).privacy.noise_std(0.5, sum(z.size for z in zeros))
    noise = [with_noise(zeros, std, noise_source(True, Stream(3, Purpose.NODE_NOISE, 1, int(c)))) for c in CLIENTS]
    for content in said:
        for vector, *parts in zip(read_payload(content, tuple(crafted)).vectors["update"], *noise, strict=True):
            np.testing.assert_array_equal(vector, sum(parts))


def test_a_node_that_adds_the_noise_evaluates_nothing_outside_a_simulation(trainer: LocalTrainer) -> None:
    vault = SimpleNamespace(about={}, documents=lambda client, part: ["held out"])
    config = RunConfig.checked(LOCAL)
    request = EvaluateRequest(config.to_settings(), 1, CLIENTS, weights_record(trainer.weights))
    for tells_counts in (False, True):
        node = Node(vault, tells_counts=tells_counts)  # type: ignore[arg-type]
        node._trainer = trainer
        asked = Message(request.content(), 2, request.kind)
        if tells_counts:
            assert math.isfinite(len(node.answer(asked)))
        else:
            with pytest.raises(CohortError, match="evaluates nothing under mechanism=local"):
                node.answer(asked)


@pytest.mark.parametrize("mechanism", ["gaussian", "adaptive(quantile=0.5)"])
def test_under_central_noise_too_no_failure_of_a_client_is_anothers(
    trainer: LocalTrainer, mechanism: str, capfd: pytest.CaptureFixture[str]
) -> None:
    start, found = trainer.weights, set()
    for name in ("does not open", "fails otherwise", "not even text"):
        payload = read_payload(reply(trainer, TEXTS[name], start, mechanism=mechanism), start)
        found.add(b"".join(v.tobytes() for v in payload.vectors["update"]))
        assert (payload.numbers["clients"], payload.numbers["failed"]) == (1, 1)
    assert len(found) == 1
    said = capfd.readouterr().err
    assert (
        said.count("A client counts as failed") == 2 and "MemoryError at " in said
    )  # the vault's own error is no surprise


def test_without_a_mechanism_an_error_of_ours_is_raised(trainer: LocalTrainer) -> None:
    plain = dict.fromkeys(("clip_norm", "noise_multiplier", "sampling_rate"), 0.0)
    with pytest.raises(MemoryError):
        reply(trainer, TEXTS["fails otherwise"], mechanism="none", **plain)


def test_a_deployment_under_local_asks_for_no_figure_and_reports_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vaults = [seal(tmp_path / v, [f"{v}{i}" for i in range(3)]) for v in "ab"]
    config = RunConfig.checked({**SETTINGS, **LOCAL, "rounds": 2, "cohort_size": 6})
    found = run_over(vaults, tmp_path / "run", config, monkeypatch)
    assert {m.metadata.message_type for m in found.requests} == {"query", "query.export", TrainRequest.kind}
    lines = [json.loads(line) for line in (tmp_path / "run" / "private" / "metrics.jsonl").read_text().splitlines()]
    assert [line["round"] for line in lines] == [0, 1, 2]
    assert not [line for line in lines if "eval" in line or "train_loss" in line or line["tokens"]]
    summary = json.loads((tmp_path / "run" / "private" / "summary.json").read_text())
    assert summary["final"] == {} and (tmp_path / "run" / "report.html").is_file()
