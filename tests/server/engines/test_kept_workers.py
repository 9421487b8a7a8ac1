"""Workers that serve one vault after the other: the same bits as fresh ones, and back again after a kill."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from fedlm.config import RunConfig
from fedlm.errors import CohortError, ConfigError
from fedlm.messages.fields import weights_record
from fedlm.messages.training import TrainRequest
from fedlm.preparation.vault import prepare
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.engines.local import LocalEngine, take_identity
from server.engines.workers import Idle, KeptWorkers, WorkerCommand
from server.run.federation import Federation
from server.store.checkpoint import weights_sha256
from server.store.run_folder import RunFolder
from tests.support.running import WORKERS

pytestmark = [pytest.mark.slow, pytest.mark.flower]


def train(tmp_path: Path, name: str, idle: Idle | None, **more: Any) -> str:
    """Seals a corpus, trains on it with one worker, and returns the hash of the weights."""
    values = {"scrub": "none", "model": "lstm(units=8, layers=1)", "rounds": 1, "cohort_size": 2, "max_clients": 4}
    config = RunConfig.checked({**values, "pseudonym_key": "seed", "eval_every": 9, **more})
    vault, key = tmp_path / f"{name}.db", KeySource(tmp_path / f"{name}.key")
    prepare("shakespeare", vault, key, config, lambda done, total: None)
    with LocalEngine(WorkerCommand(vault, key.file), 1, idle) as engine:
        run = Federation(engine, config, RunFolder.create(tmp_path / name, config), lambda line: None)
        run.start()
        return weights_sha256(run.run())


def test_a_kept_worker_gives_the_bits_of_a_fresh_one(tmp_path: Path) -> None:
    other = {"seed": 1, "weighting": "uniform", "max_client_tokens": 10**6, "local_epochs": 2}
    fresh = train(tmp_path, "fresh", None, **other)
    with KeptWorkers() as idle:
        first = train(tmp_path, "first", idle)
        (worker,) = idle.waiting
        process = worker.process
        assert train(tmp_path, "second", idle, **other) == fresh != first
        assert worker.process is process  # the same one, its model compiled once
        assert process is not None
        process.kill()
        assert train(tmp_path, "third", idle, **other) == fresh
        assert worker.process is not process
    assert worker.process is not None and worker.process.poll() is not None


def test_drift_changes_no_bit_and_is_refused_where_it_would_tell_too_much(tmp_path: Path) -> None:
    from clients.node import Node

    assert train(tmp_path, "with", WORKERS, drift=True) == train(tmp_path, "without", WORKERS)
    line = RunFolder(tmp_path / "with").metrics()[-1]
    assert -1 <= line["drift"]["cosine"] <= 1 and line["drift"]["norm"] > 0
    settings = RunConfig(drift=True, model="lstm(units=8, layers=1)").to_settings()
    request = TrainRequest(settings, 1, np.ones(2, np.uint64), weights_record(()))
    take_identity()
    vault = Vault(tmp_path / "with.db", KeySource(tmp_path / "with.key"))
    with closing(vault), pytest.raises(CohortError, match="second sum"):
        Node(vault, tells_counts=False).answer(Message(request.content(), 2, request.kind))
    with pytest.raises(ConfigError, match="drift is not covered by noise"):
        RunConfig.checked(
            {
                "drift": True,
                "mechanism": "gaussian",
                "clip_norm": 1.0,
                "noise_multiplier": 1.0,
                "sampling_rate": 0.1,
                "weighting": "uniform",
                "max_client_tokens": 10**6,
                "population_weight": 10.0,
            }
        )


def test_only_what_graphs_depend_on_makes_a_trainer_anew() -> None:
    from fedlm.training.trainer import LocalTrainer

    config = RunConfig(model="lstm(units=8, layers=1)", seq_len=20, client_optimizer="sgd(learning_rate=1.0)")
    trainer, documents = LocalTrainer(config), ["to be or not to be"] * 3
    before, _ = trainer.train(trainer.weights, documents, np.random.default_rng(0))
    later = config.model_copy(
        update={"seed": 5, "local_epochs": 2, "weighting": "uniform", "max_client_tokens": 10**6, "proximal_mu": 0.1}
    )
    assert trainer.take_over(later)
    fresh = LocalTrainer(later)
    for a, b in zip(trainer.weights, fresh.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    one, two = (t.train(fresh.weights, documents, np.random.default_rng(1))[0] for t in (trainer, fresh))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    for key, value in (("seq_len", 30), ("batch_size", 2), ("model", "lstm(units=9, layers=1)"), ("l2", 0.1)):
        assert not trainer.take_over(config.model_copy(update={key: value}))
    assert trainer.take_over(config)
    again, _ = trainer.train(LocalTrainer(config).weights, documents, np.random.default_rng(0))
    for a, b in zip(before, again, strict=True):
        np.testing.assert_array_equal(a, b)
