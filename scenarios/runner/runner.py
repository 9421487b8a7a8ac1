"""Runs a study: a grid of runs over an engine, resumable run by run; then the results, the figures and the report.

The folder of a study:

    runs/             one folder for each run (`execute.py` says what is in it)
    vaults/           sealed data that the runs share; removed once all runs have succeeded
    results.parquet   every figure of every run and client
    study.json        everything in the report
    figures/, report.html

Runs go to worker processes of this machine (`engines.py`) or to tasks of Ray (`ray.py`). A run that fails is reported and
does not stop the study.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

from fedlm.errors import ConfigError, FedLMError
from fedlm.report.study import write_study_report
from fedlm.system.terminal import ClientProgress
from scenarios.runner.catalog import build_study, load_scenario, scenario_names
from scenarios.runner.design import Design, Options
from scenarios.runner.engines import Engine, LocalEngine
from scenarios.runner.execute import Stopped
from scenarios.runner.job import Job, make_job
from scenarios.runner.output import Ended, write_results
from scenarios.runner.record import RunRecord, read_record
from scenarios.runner.vaults import Vaults

__all__ = ["Runner", "grid", "load_scenario", "run_study", "scenario_names"]  # all that a command line needs
_POLL_SECONDS = 0.5  # between two looks at the progress


def grid(study: Design, seeds: Sequence[int], cores: int, most: int = 0) -> list[Job]:
    """Returns all runs, seed by seed, so that an interrupted study has whole seeds.

    Every run has one worker if the runs fill the cores; fewer runs than cores share the cores evenly.

    Args:
      study, seeds: whose runs.
      cores: the total number.
      most: workers of one run at most, those of one machine; 0 is all cores.

    Raises:
      ConfigError: a setting is invalid, or two cases have the same name.
    """
    names = [c.name for c in study.cases]
    if len(set(names)) < len(names):
        raise ConfigError(f"The study {study.name} has two cases with the same condition and algorithm.")
    workers = max(1, min(cores // max(len(names) * len(seeds), 1), most or cores))
    return [make_job(study, case, seed, workers) for seed in seeds for case in study.cases]


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
        self.done: dict[str, RunRecord] = {}
        self.failed: dict[str, FedLMError] = {}

    def run(self) -> Path:
        """Runs what is not done yet; returns the report's path.

        Raises:
          ConfigError: the folder is that of a run.
          FedLMError: all runs failed.
          KeyboardInterrupt: interrupted; what is done stays done.
        """
        started = time.monotonic()
        jobs = grid(self.study, self.seeds, self.engine.cores)
        self._open()
        self._find_done(jobs)
        if len(self.done) < len(jobs):
            self._run_rest()
        records = [self.done[j.name] for j in jobs if j.name in self.done]
        if not records:
            raise self._nothing_ended_well()
        if not self.failed:
            Vaults(self.out / "vaults").remove()
        failed = {name: str(error) for name, error in self.failed.items()}
        seconds = time.monotonic() - started
        write_results(Ended(self.study, self.seeds, records, failed, self.command, seconds), self.out)
        return write_study_report(self.out)

    def _open(self) -> None:
        """Makes the study's folder, mode 0700: the runs' models are trained on private text."""
        if (self.out / "config.toml").is_file():
            raise ConfigError(f"{self.out} is the folder of a run: name another one for the study.")
        for folder in (self.out, self.out / "runs"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _find_done(self, jobs: Sequence[Job]) -> None:
        """Reads the results of the runs that are done."""
        found = {j.name: read_record(self.out / "runs" / j.name, j.key) for j in jobs}
        self.done = {name: record for name, record in found.items() if record is not None}
        if self.echo and self.done:
            self.echo(f"{len(self.done)} of {len(jobs)} runs are done already")

    def _run_rest(self) -> None:
        """Opens the engine and runs what is not done."""
        with self.engine, ClientProgress(f"study {self.study.name}", quiet=self.echo is None) as progress:
            jobs = grid(self.study, self.seeds, self.engine.cores, self.engine.most)  # an open engine knows its cores
            left = [j for j in jobs if j.name not in self.done]
            try:
                self._await({self.engine.submit(j): j for j in left}, progress)
            except BaseException:  # an interrupt or SIGTERM
                self.engine.stop()
                raise

    def _await(self, waiting: dict[Future[RunRecord], Job], progress: ClientProgress) -> None:
        """Collects the runs as they end, and shows the rounds done."""
        rounds, runs = sum(j.config.rounds for j in waiting.values()), len(waiting) + len(self.done)
        while waiting:
            over, _ = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in over:
                self._collect(waiting.pop(future), future)
            note = f"rounds; {len(self.done)} of {runs} runs done"
            note += f", {len(self.failed)} failed" if self.failed else ""
            progress.update(min(self.engine.rounds(), rounds), rounds, note)

    def _collect(self, job: Job, future: Future[RunRecord]) -> None:
        """Keeps a run's result, or why it failed; an interrupt is raised again."""
        error = future.exception()
        if error is None:
            self.done[job.name] = future.result()
        elif not isinstance(error, Exception):
            raise error
        elif not isinstance(error, Stopped):
            # The text of an exception that is not ours may quote a document, so only its type is shown.
            self.failed[job.name] = error if isinstance(error, FedLMError) else FedLMError(type(error).__name__)
            if self.echo:
                self.echo(f"failed: {job.name}: {self.failed[job.name]}")

    def _nothing_ended_well(self) -> FedLMError:
        """Returns the study's error, of the runs' kind if they agree: bad input ends as it would in one run."""
        kinds = {type(error) for error in self.failed.values()}
        kind = kinds.pop() if len(kinds) == 1 else FedLMError
        return kind(f"All runs of {self.study.name} failed: {next(iter(self.failed.values()), '')}")


def run_study(
    name: str,
    options: Options,
    seeds: int,
    out: Path,
    echo: Callable[[str], object] | None,
    command: str = "",
    engine: Engine | None = None,
) -> Path:
    """Runs a study by its name or file; returns the report's path.

    Raises:
      ConfigError: there is no such study, it needs what the options lack, or the folder is a run's.
    """
    return Runner(build_study(name, options), range(seeds), out, echo, command, engine).run()
