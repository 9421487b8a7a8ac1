"""The runs of a study as tasks of Ray: on this machine, or on a cluster whose machines all see the study's folder.

A task does what a thread of the local engine does, with worker processes that outlive a run, so the results have the same
bits. All that it leaves is in the study's folder; a lost task resumes from its run's checkpoint.
"""

import contextlib
import json
import os
import platform
import signal
import socket
import threading
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from fedlm import errors
from fedlm.errors import ConfigError, FedLMError
from fedlm.plugins.calls import unexpected
from fedlm.system.processors import processors
from fedlm.system.terminal import quiet_stderr
from scenarios.runner.execute import Workplace, run_job
from scenarios.runner.job import Job
from scenarios.runner.record import RunRecord
from scenarios.runner.vaults import Vaults
from server.engines.local import take_identity
from server.engines.ray import own_path
from server.engines.ray_instance import ray_instance
from server.engines.workers import KeptWorkers

_STORE_BYTES = 2**27  # for objects in transit; ours are small
_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
_PATIENCE_SECONDS = 20.0  # that an interrupted study gives its tasks to end their round


class RayEngine:
    """Jobs as Ray tasks; without the address of a cluster, Ray is started and stopped here.

    Args:
      out: the study's folder.
      address: of a running cluster, as `ray.init` takes it; empty starts Ray on this machine, for this study only.
      cores: of that Ray; 0 is all.

    Raises:
      ConfigError: Ray is not installed.
    """

    def __init__(self, out: Path, address: str = "", cores: int = 0) -> None:
        if find_spec("ray") is None:
            raise ConfigError("The Ray engine needs Ray: install fedlm with its extra, pip install 'fedlm[ray]'.")
        self._out, self._address = out.resolve(), address
        self.cores = self.most = cores or processors()
        self._tasks: dict[Any, Job] = {}

    def __enter__(self) -> Self:
        """Starts Ray, or connects to the cluster.

        Raises:
          ConfigError: no cluster answers there.
          FedLMError: no folder can be made for the files of a Ray of our own.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        with contextlib.ExitStack() as opened:
            files = None if self._address else opened.enter_context(ray_instance()).files
            with _undisturbed():
                import ray

                self._ray = ray
                if files is None:
                    self._connect()
                else:
                    self._start(files)
            machines = [int(n["Resources"].get("CPU", 0)) for n in ray.nodes() if n["Alive"]]
            self._instance = opened.pop_all()
        self.cores, self.most = max(sum(machines), 1), max(machines, default=1)
        self._remote = ray.remote(max_retries=1)(run_task)  # a lost task starts once more, from its checkpoint
        return self

    def __exit__(self, *_: object) -> None:
        """Ends Ray, or only the connection to a cluster."""
        with self._instance, _undisturbed():
            self._ray.shutdown()

    def _connect(self) -> None:
        try:
            _knock(self._address)
            self._ray.init(address=self._address, job_config=own_path(), **_QUIET)
        except (OSError, ValueError, RuntimeError):
            where = f"No Ray cluster answers at {self._address}"
            raise ConfigError(f"{where}: start one with ray start --head, or leave the address out.") from None

    def _start(self, files: Path) -> None:
        own: dict[str, Any] = {"num_cpus": self.cores, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
        self._ray.init(address="local", job_config=own_path(), _temp_dir=str(files), **own, **_QUIET)

    def submit(self, job: Job) -> Future[RunRecord]:
        """Runs a job as a task with a processor for each of its workers."""
        task = self._remote.options(num_cpus=job.config.num_workers, name=job.name).remote(
            job, str(self._out), str(Path.cwd())
        )
        self._tasks[task] = job
        found: Future[RunRecord] = Future()
        task.future().add_done_callback(lambda done: _settle(found, done))
        return found

    def rounds(self) -> int:
        """Returns the rounds in the runs' own metrics."""
        return sum(_rounds_of(self._out / "runs" / job.name) for job in self._tasks.values())

    def stop(self) -> None:
        """Interrupts the tasks, and gives them a short time to end their round."""
        for task in self._tasks:
            self._ray.cancel(task)
        self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=_PATIENCE_SECONDS)


def run_task(job: Job, out: str, here: str) -> dict[str, Any]:
    """Runs a job in a Ray worker process.

    Args:
      job: the run.
      out: the study's folder, the same on every machine.
      here: the folder in which the study was started; relative corpus paths start there.

    Returns:
      `result`, or `failed` with a sentence and `kind`, the class of our error. Of any other exception only the type and
      the place are returned: its text may quote a document, and Ray writes it into its log.
    """
    folder = Path(out)
    vaults = Vaults(folder / "vaults" / platform.node())  # one a machine: SQLite wants a local file system
    if not (folder / "runs").is_dir():
        where = f"The machine {platform.node()} cannot read {folder}"
        return {"failed": f"{where}: set --out to a folder that all machines of the cluster share."}
    with contextlib.suppress(OSError):
        os.chdir(here)
    take_identity()
    try:
        place = Workplace(folder / "runs", vaults, threading.Event(), _say_nothing, _workers())
        return {"result": run_job(job, place)}
    except FedLMError as error:
        return {"failed": str(error), "kind": type(error).__name__}
    except Exception as error:  # noqa: BLE001 - the border of the task
        return {"failed": unexpected(error)}


@cache
def _workers() -> KeptWorkers:
    """The training processes of this Ray worker process; they end with it."""
    return KeptWorkers()


def _say_nothing(line: Mapping[str, Any]) -> None:
    """Ignores a line: the runner reads the rounds from the run's folder."""


def _settle(found: Future[RunRecord], done: Future[dict[str, Any]]) -> None:
    """Passes the result or the failure of a task on to the future that the runner holds."""
    error = done.exception()
    if error is not None:
        found.set_exception(
            FedLMError(f"The Ray task was lost ({type(error).__name__}); the same command resumes the run.")
        )
    elif "failed" in done.result():
        kind = getattr(errors, done.result().get("kind", ""), FedLMError)
        found.set_exception(kind(done.result()["failed"]))
    else:
        found.set_result(done.result()["result"])


def _rounds_of(run: Path) -> int:
    file, count = run / "metrics.jsonl", 0
    with contextlib.suppress(OSError, json.JSONDecodeError):  # a last line may be half-written
        for line in file.read_text().splitlines():
            count += json.loads(line)["round"] > 0
    return count


def _knock(address: str) -> None:
    """Raises OSError if nothing listens at HOST:PORT; Ray itself would retry for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hides what Ray prints when it starts and ends, and restores the SIGTERM handler that it replaces."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings(), quiet_stderr():
            warnings.simplefilter("ignore")
            yield
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
