"""Engines that execute the runs of a study. The local one uses threads over worker processes that outlive a run."""

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, Self

from fedlm.errors import ConfigError
from fedlm.system.processors import processors
from scenarios.runner.execute import Workplace, run_job
from scenarios.runner.job import Job
from scenarios.runner.record import RunRecord
from scenarios.runner.vaults import Vaults
from server.engines.local import take_identity
from server.engines.workers import KeptWorkers


class Engine(Protocol):
    """What runs jobs while it is open.

    Attributes:
      cores: the total number of processors.
      most: the processors of the largest machine; all workers of a run are on one machine.
    """

    cores: int
    most: int

    def __enter__(self) -> Self:
        """Starts what it needs."""

    def __exit__(self, *_: object) -> None:
        """Ends what it started."""

    def submit(self, job: Job) -> Future[RunRecord]:
        """Runs a job as soon as processors are free; the future holds its result, or why it failed."""

    def rounds(self) -> int:
        """Returns the rounds done so far of the jobs that were submitted."""

    def stop(self) -> None:
        """Starts no further job; running jobs stop after their round and can be resumed."""


class LocalEngine:
    """Jobs on this machine, one for each core at a time.

    Args:
      out: the study's folder.
      cores: jobs at once; 0 is one per core.
      vaults: the sealed data of the jobs; by default each corpus is sealed in the study's folder.
      work: runs a job.
    """

    def __init__(
        self,
        out: Path,
        cores: int = 0,
        vaults: Vaults | None = None,
        work: Callable[[Job, Workplace], RunRecord] = run_job,
    ) -> None:
        self.cores = self.most = cores or processors()
        self._out, self._vaults, self._work = out, vaults or Vaults(out / "vaults"), work
        self._stop, self._lock, self._rounds, self._open = threading.Event(), threading.Lock(), 0, ExitStack()

    def __enter__(self) -> Self:
        take_identity()
        self._workers = self._open.enter_context(KeptWorkers())
        self._pool = self._open.enter_context(ThreadPoolExecutor(self.cores))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def submit(self, job: Job) -> Future[RunRecord]:
        """Runs a job in a thread."""
        place = Workplace(self._out / "runs", self._vaults, self._stop, self._count, self._workers)
        return self._pool.submit(self._work, job, place)

    def rounds(self) -> int:
        """Returns the rounds that the jobs have reported."""
        return self._rounds

    def stop(self) -> None:
        """Stops the threads after their present round."""
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _count(self, line: Mapping[str, Any]) -> None:
        with self._lock:
            self._rounds += line["round"] > 0


def study_engine(name: str, out: Path, address: str = "") -> Engine:
    """Returns a study's engine by name.

    Args:
      name: local, or ray.
      out: the study's folder.
      address: of a Ray cluster; by default that of the variable RAY_ADDRESS, or a new Ray instance for this study.

    Raises:
      ConfigError: there is no such engine, or an address goes with one that has none.
    """
    if name not in _ENGINES:
        raise ConfigError(f"There is no engine {name!r}: use {' or '.join(_ENGINES)}.")
    return _ENGINES[name](out, address)


def _local(out: Path, address: str) -> Engine:
    if address:
        raise ConfigError("--address names a Ray cluster: use it with --engine ray.")
    return LocalEngine(out)


def _ray(out: Path, address: str) -> Engine:
    module = import_module("scenarios.runner.ray")  # loads Ray, which a local study does not need
    made: Engine = module.RayEngine(out, address or os.environ.get("RAY_ADDRESS", ""))
    return made


_ENGINES: dict[str, Callable[[Path, str], Engine]] = {"local": _local, "ray": _ray}
