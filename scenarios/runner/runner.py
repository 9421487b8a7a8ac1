"""Runs a study: a grid of runs over an engine, resumable run by run; then the results, the figures and the report.

The folder of a study:

    runs/             one folder for each run (`execute.py` says what is in it)
    vaults/           sealed data that the runs share; removed once all runs have succeeded
    results.parquet   every figure of every run and client
    rounds.parquet    every figure of every run and round
    study.json        everything in the report
    paper/            figures, tables and data for a paper
    report.html

Runs go to worker processes of this machine (`engines.py`) or to tasks of Ray (`ray.py`). A run that fails is reported and
does not stop the study.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from clients.probe import check_in_worker
from fedlm.errors import ConfigError
from fedlm.report.study import write_study_report
from fedlm.system.files import check_new_folder
from fedlm.system.locks import holding
from scenarios.runner.batch import Batch
from scenarios.runner.catalog import build_study, load_scenario, published_names, scenario_names
from scenarios.runner.checks import check_design
from scenarios.runner.design import Design, Options
from scenarios.runner.engines import Engine, LocalEngine
from scenarios.runner.job import Job, make_job
from scenarios.runner.output import Ended, write_results
from scenarios.runner.vaults import Vaults

__all__ = [
    "Runner",
    "default_seeds",
    "grid",
    "load_scenario",
    "published_names",
    "run_study",
    "scenario_names",
]  # all that a command line needs
QUICK_SEEDS = 2


def grid(study: Design, seeds: Sequence[int], cores: int, most: int = 0) -> list[Job]:
    """Returns all runs, seed by seed, so that an interrupted study has whole seeds.

    Every run has one worker if the runs fill the cores; fewer runs than cores share the cores evenly.

    Args:
      study, seeds: whose runs.
      cores: the total number.
      most: workers of one run at most, those of one machine; 0 is all cores.

    Raises:
      ConfigError: a setting is invalid, or the study names what does not exist.
    """
    check_design(study, study.name)
    workers = max(1, min(cores // max(len(study.cases) * len(seeds), 1), most or cores))
    return [make_job(study, case, seed, workers) for seed in seeds for case in study.cases]


LOCK = ".lock"  # held by the process that works in the folder


class Runner:
    """One study in one folder.

    Args:
      study: what to run.
      seeds: of each case.
      out: the folder; runs that are done in it are not repeated.
      echo: prints a line; None shows nothing.
      command: that repeats the study, for the report.
      engine: where the runs go; by default worker processes of this machine, one a core.
    """

    def __init__(
        self,
        study: Design,
        seeds: Sequence[int],
        out: Path,
        echo: Callable[[str], object] | None = None,
        command: str = "",
        engine: Engine | None = None,
    ) -> None:
        self.study, self.seeds, self.out, self.echo = study, list(seeds), out, echo
        self.engine: Engine = engine or LocalEngine(out)
        self.command = command or f"fedlm study {study.name} --seeds {len(self.seeds)}"
        self._batch = Batch(f"study {study.name}", out / "runs", self.engine, echo)

    def run(self) -> Path:
        """Runs what is not done yet; returns the report's path.

        Raises:
          ConfigError: the folder is that of a run, or another process is working in it.
          FedLMError: all runs failed.
          KeyboardInterrupt: interrupted; what is done stays done.
        """
        jobs = grid(self.study, self.seeds, self.engine.cores)
        for job in jobs:
            check_in_worker(job.config)  # before anything is made
        self._open()
        # Whoever ends first would remove the sealed data that the other reads.
        problem = f"Another process is working in {self.out}: wait until it has finished, or stop it first."
        with holding(self.out / LOCK, os.getpid(), problem, kind=ConfigError):
            return self._run_rest(jobs)

    def _run_rest(self, jobs: Sequence[Job]) -> Path:
        started, batch = time.monotonic(), self._batch
        batch.find_done(jobs)
        if len(batch.done) < len(jobs):
            batch.run_rest(lambda cores, most: grid(self.study, self.seeds, cores, most))
        records = [batch.done[j.name] for j in jobs if j.name in batch.done]
        if not records:
            raise batch.nothing_ended_well(self.study.name)
        if not batch.failed:
            Vaults(self.out / "vaults").remove()
        failed = {name: str(error) for name, error in batch.failed.items()}
        seconds = time.monotonic() - started
        write_results(Ended(self.study, self.seeds, records, failed, self.command, seconds), self.out)
        return write_study_report(self.out)

    def _open(self) -> None:
        """Makes the study's folder, mode 0700: the runs' models are trained on private text."""
        if (self.out / "config.toml").is_file():
            raise ConfigError(f"{self.out} is the folder of a run: name another one for the study.")
        if not self.out.is_dir():  # a folder that is there holds runs that are done
            check_new_folder(self.out, "name another folder for the study")
        for folder in (self.out, self.out / "runs"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def default_seeds(study: Design, *, quick: bool) -> int:
    """Returns how many seeds a study gets unless the user says otherwise."""
    return QUICK_SEEDS if quick else study.seeds


def run_study(
    name: str,
    options: Options,
    seeds: int,
    out: Path,
    echo: Callable[[str], object] | None,
    command: str = "",
    engine: Engine | None = None,
) -> Path:
    """Runs a study by its name or file; returns the report's path. 0 seeds are those that the study declares.

    Raises:
      ConfigError: there is no such study, it needs what the options lack, or the folder is a run's.
    """
    study = build_study(name, options)
    chosen = seeds or default_seeds(study, quick=options.quick)
    return Runner(study, range(chosen), out, echo, command, engine).run()
