"""A small run in this process, over worker processes of its own that find the tests' plug-ins."""

from pathlib import Path
from typing import Any

from fedlm.config import RunConfig
from fedlm.vault.keys import KeySource
from server.engines.local import LocalEngine
from server.engines.workers import WorkerCommand
from server.run.federation import Federation
from server.store.checkpoint import weights_sha256
from server.store.run_folder import RunFolder

ROOT = Path(__file__).parents[2]


def hash_of_run(vault: Path, run: Path, config: RunConfig, workers: int = 1, idle: Any = None) -> str:
    """Trains, or continues, a run; returns the hash of its weights."""
    folder = RunFolder.open(run) if run.exists() else RunFolder.create(run, config)
    command = WorkerCommand(vault, KeySource(vault.with_name("v.db.key")).file)
    with LocalEngine(command, workers, idle) as engine:
        federation = Federation(engine, config, folder, lambda line: None)
        federation.start(resume=True)
        return weights_sha256(federation.run())
