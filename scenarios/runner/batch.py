"""Many runs over an engine, resumable run by run: those of a study, or of a search for settings."""

import os
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

from fedlm.errors import FedLMError
from fedlm.plugins.calls import unexpected
from fedlm.system.processes import DEBUG
from fedlm.system.terminal import ClientProgress
from scenarios.runner.engines import Engine
from scenarios.runner.execute import Stopped
from scenarios.runner.job import Job
from scenarios.runner.record import RunRecord, read_record

_POLL_SECONDS = 0.5  # between two looks at the progress


class Batch:
    """Runs of one folder.

    Args:
      title: what the runs are, for the progress.
      runs: the folder of the runs' folders.
      engine: where they go.
      echo: prints a line; None shows nothing.

    Attributes:
      done: the results of the runs that are done, by name.
      failed: why others failed, by name.
    """

    def __init__(self, title: str, runs: Path, engine: Engine, echo: Callable[[str], object] | None) -> None:
        self._title, self._runs, self._engine, self._echo = title, runs, engine, echo
        self.done: dict[str, RunRecord] = {}
        self.failed: dict[str, FedLMError] = {}

    def find_done(self, jobs: Sequence[Job]) -> None:
        """Reads the results of the runs that are done."""
        found = {j.name: read_record(self._runs / j.name, j.key) for j in jobs}
        self.done = {name: record for name, record in found.items() if record is not None}
        if self._echo and self.done:
            self._echo(f"{len(self.done)} of {len(jobs)} runs are done already")

    def run_rest(self, jobs_of: Callable[[int, int], Sequence[Job]]) -> None:
        """Opens the engine and runs what is not done.

        Args:
          jobs_of: returns all runs for a number of processors, and for that of one machine: an open engine knows them.

        Raises:
          KeyboardInterrupt: interrupted; what is done stays done.
        """
        if self._echo:
            self._echo("starting the workers")
        with self._engine, ClientProgress(self._title, quiet=self._echo is None) as progress:
            left = [j for j in jobs_of(self._engine.cores, self._engine.most) if j.name not in self.done]
            try:
                self._await({self._engine.submit(j): j for j in left}, progress)
            except BaseException:  # an interrupt or SIGTERM
                self._engine.stop()
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
            progress.update(min(self._engine.rounds(), rounds), rounds, note)

    def _collect(self, job: Job, future: Future[RunRecord]) -> None:
        """Keeps a run's result, or why it failed; an interrupt is raised again."""
        error = future.exception()
        if error is None:
            self.done[job.name] = future.result()
        elif not isinstance(error, Exception):
            raise error
        elif not isinstance(error, Stopped):
            # The text of an exception that is not ours may quote a document, so only its type and place are shown.
            self.failed[job.name] = error if isinstance(error, FedLMError) else FedLMError(unexpected(error))
            if os.environ.get(DEBUG):
                traceback.print_exception(error)
            if self._echo:
                self._echo(f"failed: {job.name}: {self.failed[job.name]}")

    def nothing_ended_well(self, what: str) -> FedLMError:
        """Returns the error for the case that all runs failed, of the runs' kind if they agree: bad input ends as in one run.

        Args:
          what: whose runs they are.
        """
        kinds = {type(error) for error in self.failed.values()}
        kind = kinds.pop() if len(kinds) == 1 else FedLMError
        return kind(f"All runs of {what} failed: {next(iter(self.failed.values()), '')}")
