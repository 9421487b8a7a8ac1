"""A tiny federation for the tests of unlearning: six clients of a few lines each, one worker that serves all runs."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flwr.app import Error, Message, MessageType

from fedlm.config import RunConfig
from fedlm.messages.training import TrainRequest
from fedlm.preparation.vault import prepare
from fedlm.vault.keys import KeySource
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
    """A grid that loses the training of one client in one round, as a killed worker does."""

    def __init__(self, grid: LocalEngine, client: int, server_round: int) -> None:
        self._grid, self._client, self._round, self._trained = grid, client, server_round, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grid, name)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        asked = list(messages)
        training = bool(asked) and asked[0].metadata.message_type == MessageType.TRAIN
        self._trained += training
        for message in asked:
            if training and self._trained == self._round and self._client in _clients(message):
                yield Message(Error(0, "The worker was lost."), reply_to=message)
            else:
                yield from self._grid.send_and_receive([message], timeout=timeout)


def _clients(message: Message) -> set[int]:
    return set(map(int, TrainRequest.read(message.content).clients))


@contextmanager
def federation(
    vault: Path, run: Path, config: RunConfig, idle: Idle, lose: tuple[int, int] | None = None
) -> Iterator[Federation]:
    """Yields the run's federation, new or to be resumed; `lose` is a client and a round."""
    folder = RunFolder.open(run) if run.exists() else RunFolder.create(run, config)
    with LocalEngine(WorkerCommand(vault, KeySource(vault.with_name("v.db.key")).file), 1, idle) as grid:
        yield Federation(Losing(grid, *lose) if lose else grid, config, folder, lambda line: None)  # type: ignore[arg-type]


def train(vault: Path, run: Path, config: RunConfig, idle: Idle, lose: tuple[int, int] | None = None) -> str:
    """Trains, or goes on with, a run; returns the hash of its weights."""
    with federation(vault, run, config, idle, lose) as started:
        started.start(resume=True)
        return weights_sha256(started.run())
