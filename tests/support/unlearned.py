"""A tiny federation for the tests of unlearning: six clients of a few lines each, one worker that serves all runs."""

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flwr.app import Error, Message

from fedlm.config import RunConfig
from fedlm.messages.training import TrainRequest
from fedlm.preparation.vault import prepare
from fedlm.vault.keys import KeySource
from server.engines.base import Engine
from server.engines.local import LocalEngine
from server.engines.workers import Idle, WorkerCommand
from server.run.federation import Federation
from server.store.checkpoint import weights_sha256
from server.store.run_folder import RunFolder

CLIENTS = [f"user{i}" for i in range(6)]


def seal(folder: Path, clients: Iterable[str] = CLIENTS) -> Path:
    """Seals some of the clients; a client's text is the same whoever else is there."""
    rows = [{"user": c, "text": f"{c} says {word} {word}"} for c in clients for word in ("ay", "no", "so", "we")]
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    vault = folder / "v.db"
    prepare(str(folder / "rows.jsonl"), vault, KeySource(folder / "v.db.key"), settings(), lambda done, total: None)
    return vault


def settings(**more: Any) -> RunConfig:
    values = {"scrub": "none", "model": "lstm(units=8, layers=1)", "seq_len": 12, "rounds": 4, "cohort_size": 3}
    values |= {"pseudonym_key": "seed", "eval_every": 1, "keep_every": 1, "client_optimizer": "sgd(learning_rate=0.5)"}
    return RunConfig.checked({**values, **more})


class Losing:
    """An engine that loses the training of one client in one round, as a killed worker does."""

    def __init__(self, engine: Engine, client: int, server_round: int) -> None:
        self._engine, self._client, self._round = engine, client, server_round

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def submit(self, messages: Sequence[Message], timeout: float | None) -> list[Future[Message]]:
        return [f for m in messages for f in ([_lost(m)] if self._loses(m) else self._engine.submit([m], timeout))]

    def _loses(self, message: Message) -> bool:
        if message.metadata.message_type != TrainRequest.kind:
            return False
        request = TrainRequest.read(message.content)
        return request.server_round == self._round and self._client in set(map(int, request.clients))


def _lost(message: Message) -> Future[Message]:
    future: Future[Message] = Future()
    future.set_result(Message(Error(0, "The worker was lost."), reply_to=message))
    return future


@contextmanager
def federation(
    vault: Path, run: Path, config: RunConfig, idle: Idle, lose: tuple[int, int] | None = None
) -> Iterator[Federation]:
    """Yields the run's federation, new or to be resumed; `lose` is a client and a round."""
    folder = RunFolder.open(run) if run.exists() else RunFolder.create(run, config)
    with LocalEngine(WorkerCommand(vault, KeySource(vault.with_name("v.db.key")).file), 1, idle) as engine:
        yield Federation(Losing(engine, *lose) if lose else engine, config, folder, lambda line: None)  # type: ignore[arg-type]


def train(vault: Path, run: Path, config: RunConfig, idle: Idle, lose: tuple[int, int] | None = None) -> str:
    """Trains, or goes on with, a run; returns the hash of its weights."""
    with federation(vault, run, config, idle, lose) as started:
        started.start(resume=True)
        return weights_sha256(started.run())
