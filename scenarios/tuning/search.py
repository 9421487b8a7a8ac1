"""Searches a grid: the same rounds and seeds for every setting, compared on validation text.

The folder of a search:

    .tuning             marks it, and is held by the process that works in it
    runs/               one folder for each run: its configuration, figures and result; its weights are removed with its end
    vaults/             the sealed text of the runs; removed once all runs have ended
    tuned.csv, tuned.json, tuned.toml, tuned-METHOD.toml

A finished run is recognised by the hash of its configuration and data, so a grid with more values runs only the new ones.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fedlm.config import RunConfig
from fedlm.errors import ConfigError, DivergedError, check_number, counted
from fedlm.measure.metric import Better, Measure, Metric, RunEvidence
from fedlm.privacy.vocabulary import NAME as PRIVATE_VOCABULARY
from fedlm.system.files import check_new_folder
from fedlm.system.locks import holding
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from scenarios.runner.batch import Batch
from scenarios.runner.design import Case, Design
from scenarios.runner.engines import LocalEngine
from scenarios.runner.execute import Workplace, run_job
from scenarios.runner.job import Job, hash_of
from scenarios.runner.metrics import Profile
from scenarios.runner.record import RESULT, RunRecord
from scenarios.tuning.data import Prepare, ValidationData
from scenarios.tuning.grid import Grid, Setting
from scenarios.tuning.outcome import METRIC, UNUSABLE, Budget, Outcome, compare
from scenarios.tuning.output import write_outcome
from server.run.failures import all_failures

FIRST_SEED = 1_000_000  # of a search's runs; those of a study are 0, 1, ...
MARK = ".tuning"
_KEPT = {RESULT, "config.toml", "metrics.jsonl"}
_LONGEST_NAME = 120  # characters of a setting in the name of a run's folder


def _figures(run: RunEvidence) -> dict[str, float]:
    """Returns how many updates of clients were not finite, in all rounds."""
    return {UNUSABLE: float(all_failures(run.rounds).get("unusable", 0))}


_MEASURE = Measure((Metric(UNUSABLE, "updates that were not finite", better=Better.LOWER),), _figures)
_DESIGN = Design("tune", "Which setting is best?", "", {}, (), "", (METRIC,), (), measures=(_MEASURE,))


@dataclass(frozen=True)
class Search:
    """A call of `fedlm tune`.

    Attributes:
      corpus: a vault, or a corpus.
      grid: the settings.
      base: the configuration of all that does not vary.
      out: the search's folder.
      seeds: how many runs each setting gets.
      source_of: returns the key source of a vault.
      prepare: makes a vault from corpus, vault, key and configuration.
      echo: prints a line; None also hides the progress bar.
      engine: makes the engine of the runs.
    """

    corpus: str
    grid: Grid
    base: RunConfig
    out: Path
    seeds: int
    source_of: Callable[[Path], KeySource]
    prepare: Prepare
    echo: Callable[[str], object] | None = None
    engine: type[LocalEngine] = LocalEngine

    def run(self) -> Outcome:
        """Runs what is not done yet; writes the table and the chosen settings, and returns them.

        Raises:
          ConfigError: the folder holds something else, or a setting spends privacy of private text.
          FedLMError: all runs failed.
          KeyboardInterrupt: interrupted; what is done stays done.
        """
        check_number("seeds", self.seeds, ge=1)
        data = ValidationData(self.out / "vaults", self.corpus, self.base, self.source_of, self.prepare)
        _check_privacy(self.grid, is_public=data.public)
        with self._working():
            return self._run(data)

    def _run(self, data: ValidationData) -> Outcome:
        engine = self.engine(self.out, self.base.workers, data, run_setting)
        runs = self.out / "runs"
        batch = Batch("tuning", runs, engine, self.echo)
        jobs = self._jobs(data, 1)
        for sentence in (*data.without_effect, self._plan()):
            self._say(sentence)
        batch.find_done([job for of in jobs.values() for job in of])
        if len(batch.done) < len(jobs) * self.seeds:
            data.make()
            batch.run_rest(lambda cores, _: self._in_order(data, cores))
        if not batch.done:
            raise batch.nothing_ended_well("the search")
        for name in batch.done:
            _keep_figures(runs / name)
        if not batch.failed:
            data.remove()
        found = {
            s.words: [batch.done.get(job.name) for job in of]
            for s, of in zip(self.grid.settings, jobs.values(), strict=True)
        }
        budget = Budget(data.name, self.base.rounds, self._seeds)
        outcome = compare(self.grid, found, budget, self._others({job.name for of in jobs.values() for job in of}))
        write_outcome(outcome, self.grid, self.out)
        return outcome

    @property
    def _seeds(self) -> tuple[int, ...]:
        return tuple(range(FIRST_SEED, FIRST_SEED + self.seeds))

    def _plan(self) -> str:
        count = len(self.grid.settings)
        return (
            f"{count} settings, {counted(self.seeds, 'seed')} each: {count * self.seeds:,} runs of "
            f"{counted(self.base.rounds, 'round')}"
        )

    def _jobs(self, data: ValidationData, workers: int) -> dict[str, list[Job]]:
        """Returns the runs of each setting, by its words."""
        return {s.words: [_job(s, seed, data, workers) for seed in self._seeds] for s in self.grid.settings}

    def _in_order(self, data: ValidationData, cores: int) -> list[Job]:
        """Returns all runs seed by seed, so that an interrupted search has whole seeds."""
        workers = max(1, cores // (len(self.grid.settings) * self.seeds))
        return [job for seed in zip(*self._jobs(data, workers).values(), strict=True) for job in seed]

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        """Makes the folder, mode 0700, and holds it; a new folder without a run is removed again if the search fails."""
        is_new = not self.out.is_dir()
        if is_new:
            check_new_folder(self.out, "name another folder for the search")
        elif any(self.out.iterdir()) and not (self.out / MARK).is_file():
            raise ConfigError(f"{self.out} is not the folder of a search: name another one.")
        (self.out / "runs").mkdir(parents=True, exist_ok=True, mode=0o700)
        self.out.chmod(0o700)
        problem = f"Another process is working in {self.out}: wait until it has finished, or stop it first."
        with holding(self.out / MARK, os.getpid(), problem, kind=ConfigError):
            try:
                yield
            except BaseException:
                if is_new and not any((self.out / "runs").iterdir()):
                    shutil.rmtree(self.out)
                raise

    def _others(self, names: set[str]) -> int:
        """Returns the number of finished runs in the folder that are not of this search."""
        return sum(file.parent.name not in names for file in (self.out / "runs").glob(f"*/{RESULT}"))

    def _say(self, sentence: str) -> None:
        if self.echo is not None:
            self.echo(sentence)


def _check_privacy(grid: Grid, *, is_public: bool) -> None:
    """Refuses settings whose runs would spend privacy of private text."""
    for setting in grid.settings:
        spends = setting.config.privacy.on or setting.config.spec("vocabulary").name == PRIVATE_VOCABULARY
        if spends and not is_public:
            raise ConfigError(
                "Under differential privacy a search on private text spends privacy in every run, which the ledger of the final "
                "run does not count (Papernot and Steinke 2022, https://arxiv.org/abs/2110.03620): tune on a public corpus."
            )


def _job(setting: Setting, seed: int, data: ValidationData, workers: int) -> Job:
    """Returns the run of a setting under a seed, with one evaluation at its end unless early stopping needs more."""
    given = {**setting.config.given(), **data.settled, "validation_fraction": 0.0}  # it is the held-out part here
    ends = {} if setting.config.patience else {"eval_every": max(setting.config.rounds, 1)}
    config = RunConfig.checked({**given, **ends, "seed": seed, "workers": workers})
    changed = config.model_dump(exclude_defaults=True)
    settings = {k: v for k, v in changed.items() if k not in ("workers", "timeout")}
    case = Case(setting.method, algorithm=setting.words[:_LONGEST_NAME])
    return Job(_DESIGN, case, seed, config, "", hash_of({"config": settings, "data": data.identity}))


def run_setting(job: Job, place: Workplace) -> RunRecord:
    """Runs a job; a run that diverges has a result too, which is not a number, so that it is not repeated."""
    folder = place.runs / job.name
    try:
        record = replace(run_job(job, replace(place, profile=_sizes)), clients=(), over_clients={})
    except DivergedError:
        case = job.case
        record = RunRecord(
            job.key, case.condition, case.algorithm, None, job.seed, job.name, 0.0, "", {METRIC: float("nan")}
        )
    record.write(folder)
    _keep_figures(folder)
    return record


def _sizes(path: Path, source: KeySource, _job: Job) -> Profile:
    """Returns the clients' numbers of tokens; nothing else of the data matters to a search."""
    with contextlib.closing(Vault(path, source)) as vault:
        return Profile({}, {int(c): vault.tokens(int(c)) for c in vault.pseudonyms}, {})


def _keep_figures(run: Path) -> None:
    """Removes the weights and the figures of single clients from a finished run's folder."""
    for item in run.iterdir():
        if item.is_dir():
            shutil.rmtree(item)
        elif item.name not in _KEPT:
            item.unlink()
