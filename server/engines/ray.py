"""Flower's simulation runtime on Ray: the same ServerApp and ClientApp, the trainer in the Ray actor.

The actors find vault and key through environment variables that they inherit from this process; on a cluster, `ray start`
sets them on every machine (docs/deployment.md). Messages contain neither.
"""

import logging
import os
import warnings
from collections.abc import Callable
from importlib.util import find_spec

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from clients import app as client_side
from fedlm.errors import ConfigError, FedLMError
from fedlm.system.terminal import quiet_stderr
from server.engines.base import Engine, Result, Tell
from server.engines.flower import FlowerEngine, wait_for_nodes
from server.engines.workers import WorkerCommand

_START_SECONDS = 120.0


def run(command: WorkerCommand, workers: int, body: Callable[[Engine], Result], tell: Tell) -> Result:
    """Runs a server's work over Flower nodes in Ray actors of one core each; see `server.engines.base.run_on`.

    Raises:
      ConfigError: Ray is not installed.
    """
    if find_spec("ray") is None:
        raise ConfigError("The Ray engine needs Ray: install fedlm with its extra, pip install 'fedlm[ray]'.")
    results: list[Result] = []
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        engine = FlowerEngine(grid, one_vault=True)
        wait_for_nodes(engine, workers, _START_SECONDS)
        results.append(body(engine))

    _environment(command)
    logging.getLogger("flwr").setLevel(logging.CRITICAL)  # errors are raised as exceptions
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    with warnings.catch_warnings(), quiet_stderr():
        warnings.simplefilter("ignore")
        from flwr.simulation import run_simulation

        settings = {"init_args": _cluster(workers), "client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
        run_simulation(server, client_side.app, workers, backend_config=settings)  # type: ignore[arg-type]
    if not results:
        raise FedLMError("The run on Ray ended without a result: see Ray's log in /tmp/ray.")
    return results[0]


def _cluster(workers: int) -> dict[str, object]:
    """Returns the arguments of `ray.init`: the cluster of RAY_ADDRESS, or else a new Ray instance for this run."""
    address = os.environ.get("RAY_ADDRESS", "")
    return {"address": address} if address else {"address": "local", "num_cpus": workers}


def _environment(command: WorkerCommand) -> None:
    values = {
        client_side.VAULT: str(command.vault.resolve()),
        client_side.KEY_FILE: None if command.key_file is None else str(command.key_file.resolve()),
        client_side.PASSPHRASE_ENV: command.passphrase_env,
        client_side.KEY_PROVIDER: command.key_provider,
    }
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
