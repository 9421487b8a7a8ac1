"""Flower's simulation runtime on Ray: the same ServerApp and ClientApp, the trainer in the Ray actor.

The actors find vault and key through environment variables that they inherit from this process; on a cluster, `ray start`
sets them on every machine (docs/deployment.md). Messages contain neither.
"""

import contextlib
import importlib
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from clients import app as client_side
from fedlm.errors import ConfigError, FedLMError
from fedlm.plugins.path import PATH, passed_on
from fedlm.system.environment import clean
from fedlm.system.processes import DEBUG
from fedlm.system.terminal import quiet_stderr
from server.engines.base import Engine, Result, Tell
from server.engines.flower import FlowerEngine, wait_for_nodes
from server.engines.ray_instance import RayInstance, abandon, ray_instance
from server.engines.workers import WorkerCommand

_START_SECONDS, _WATCH_SECONDS, _END_SECONDS = 120.0, 0.2, 5.0

# One core each. A lost actor is restarted, and its message is sent once more, as in the local engine.
_ACTOR: Any = {"num_cpus": 1, "num_gpus": 0.0, "max_restarts": -1, "max_task_retries": 1}


def run(command: WorkerCommand, workers: int, body: Callable[[Engine], Result], _tell: Tell) -> Result:
    """Runs a server's work over Flower nodes in Ray actors of one core each; see `server.engines.base.run_on`.

    Ray restarts a lost actor without a word, so nothing is told of it.

    Raises:
      ConfigError: Ray is not installed.
    """
    if find_spec("ray") is None:
        raise ConfigError("The Ray engine needs Ray: install fedlm with its extra, pip install 'fedlm[ray]'.")
    _environment(command)
    logging.getLogger("flwr").setLevel(logging.CRITICAL)  # errors are raised as exceptions
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    with ray_instance() as instance:
        simulation = _Simulation(body, workers, instance)
        with warnings.catch_warnings(), quiet_stderr(), _quiet_stdout():
            warnings.simplefilter("ignore")
            simulation.run()
    return simulation.result


class _Simulation(Generic[Result]):
    """A simulation of Flower's in a thread, which is left behind if its Ray is lost.

    The thread is a daemon, as are those that it starts: one that waits for a lost Ray cannot be ended.

    Args:
      body: the server's work.
      workers: the number of nodes.
      instance: its Ray.
    """

    def __init__(self, body: Callable[[Engine], Result], workers: int, instance: RayInstance) -> None:
        self._body, self._workers, self._instance = body, workers, instance
        self._results, self._errors, self._lost = list[Result](), list[BaseException](), ""
        self._done, self._engines = threading.Event(), list[FlowerEngine]()

    @property
    def result(self) -> Result:
        """The body's result.

        Raises:
          FedLMError: Ray did not start or was lost. What the body raised is raised again.
        """
        if self._results:
            return self._results[0]
        if self._lost:
            raise FedLMError(f"{self._lost}: continue with --resume. {DEBUG}=1 keeps Ray's logs.")
        if self._errors:
            raise self._errors[0]
        raise FedLMError(f"The run on Ray ended without a result: {DEBUG}=1 keeps Ray's logs.")

    def run(self) -> None:
        """Returns when the simulation has ended, or some seconds after its Ray was lost."""
        others = set(threading.enumerate())
        thread = threading.Thread(target=self._simulate, daemon=True)
        thread.start()
        try:
            while thread.is_alive() and not self._done.is_set() and not self._lost:
                thread.join(_WATCH_SECONDS)
                lost = self._instance.lost()
                self._lost = lost if not self._done.is_set() else self._lost  # Ray's shutdown ends them, too
        finally:
            for engine in self._engines:
                engine.error = FedLMError(
                    self._lost or "The run was interrupted."
                )  # ends a body that waits for replies
            thread.join(_END_SECONDS)
            if thread.is_alive():
                self._abandon(set(threading.enumerate()) - others)

    def _simulate(self) -> None:
        from flwr.simulation import run_simulation

        server = ServerApp()
        server.main()(self._serve)
        try:
            _start_ray(self._workers, self._instance.files)
            resources: Any = {"client_resources": _ACTOR}
            run_simulation(server, client_side.app, self._workers, backend_config=resources)
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            if not self._errors:
                self._lost = self._lost or f"Ray did not start ({_cause(error)})"

    def _serve(self, grid: Grid, context: Context) -> None:
        engine = FlowerEngine(grid, one_vault=True)
        self._engines.append(engine)
        try:
            wait_for_nodes(engine, self._workers, _START_SECONDS)
            self._results.append(self._body(engine))
        except BaseException as error:
            self._errors.append(error)
            self._lost = self._lost or self._instance.lost()  # an error of its own may follow from it
            raise
        finally:
            self._done.set()

    def _abandon(self, threads: set[threading.Thread]) -> None:
        self._instance.end()
        end = time.monotonic() + _END_SECONDS
        for left in threads:
            left.join(max(end - time.monotonic(), 0.0))
        abandon({left for left in threads if left.is_alive()})


def _cause(error: BaseException) -> str:
    """Returns the first line of the error that Flower's errors were raised from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().split("\n")[0][:200].rstrip(".") or type(error).__name__


@contextlib.contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Lets Ray print nothing to stdout: it would print what it says about lost processes among the results."""
    worker = importlib.import_module("ray._private.worker")
    with contextlib.ExitStack() as restored:
        restored.callback(setattr, worker, "print_to_stdstream", worker.print_to_stdstream)
        worker.print_to_stdstream = lambda *_, **__: None  # type: ignore[attr-defined]
        yield


def _start_ray(workers: int, folder: Path) -> None:
    """Connects to the cluster of RAY_ADDRESS, or else starts a Ray instance for this run. Flower would do so, and ends it.

    Flower would also put the current folder before all others on the path of Ray's processes.
    """
    import ray

    address = os.environ.get("RAY_ADDRESS", "")
    own = {"address": "local", "num_cpus": workers, "_temp_dir": str(folder)}
    where: dict[str, Any] = {"address": address} if address else own
    path = {"env_vars": {"PYTHONPATH": passed_on()}}  # ours is in order: Python, packages, a user's own
    ray.init(**where, include_dashboard=False, log_to_driver=False, runtime_env=path, job_config=own_path())


def own_path() -> Any:
    """Returns a configuration of Ray that keeps the current folder out of its processes' module path.

    Ray puts it first, before Python's own modules and ours. There is no option for that.
    """
    from ray.job_config import JobConfig

    class OwnPath(JobConfig):  # type: ignore[misc, unused-ignore]
        def _runtime_env_has_working_dir(self) -> bool:
            return True

    return OwnPath()


def _environment(command: WorkerCommand) -> None:
    values = {
        client_side.VAULT: str(command.vault.resolve()),
        client_side.KEY_FILE: None if command.key_file is None else str(command.key_file.resolve()),
        client_side.PASSPHRASE_ENV: command.passphrase_env,
        client_side.KEY_PROVIDER: command.key_provider,
    }
    cleaned = clean(os.environ) | {PATH: passed_on()}
    os.environ.clear()  # Ray's processes inherit what this one has
    os.environ.update(cleaned)
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
