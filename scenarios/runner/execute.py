"""One run of a study: seal the data unless an earlier run has, train, measure, write the result.

On disk, below the study's folder:

    vaults/HASH.db, HASH.key       sealed data, shared by all runs with the same corpus, preparation and seed
    vaults/local-only-HASH.json    sums of local-only models, shared by all runs that differ at the server only
    runs/NAME-KEY/                 a run's folder: config.toml, metrics.jsonl, checkpoint/
    runs/NAME-KEY/result.json      its result; written last, atomically

A killed study resumes from these files. A run whose result.json has its key is done. A run with a checkpoint resumes from
it and ends in the same bits, because cohorts, batches and initial weights are functions of the seed. A run with neither
starts again. `vaults/` is removed once all runs have succeeded.
"""

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedlm.config import RunConfig
from fedlm.errors import FedLMError
from fedlm.measure.metric import ClientSums, RunEvidence
from fedlm.types import TextMetrics, Weights
from scenarios.runner.federation import StudyFederation
from scenarios.runner.job import Job
from scenarios.runner.metrics import client_sums, profile_vault, run_metrics
from scenarios.runner.record import RunRecord
from scenarios.runner.vaults import Vaults
from server.engines.local import LocalEngine
from server.engines.workers import Idle, WorkerCommand
from server.store.checkpoint import weights_sha256
from server.store.run_folder import RunFolder


class Stopped(FedLMError):
    """The study was interrupted; the same command resumes the run."""


@dataclass(frozen=True)
class Workplace:
    """The folders of a study's runs, and what the runs share.

    Attributes:
      runs: the folder of the runs' folders.
      vaults: the study's sealed data.
      stop: set when the study is interrupted; a run then ends after its round.
      listener: gets each line of metrics.jsonl.
      workers: worker processes that runs use one after the other; by default each run starts its own.
    """

    runs: Path
    vaults: Vaults
    stop: threading.Event
    listener: Callable[[Mapping[str, Any]], None]
    workers: Idle | None = None

    def heard(self, line: Mapping[str, Any]) -> None:
        """Passes on a line of metrics.jsonl.

        Raises:
          Stopped: the study was interrupted.
        """
        self.listener(line)
        if self.stop.is_set():
            raise Stopped("The study was interrupted.")


@dataclass(frozen=True)
class Trained:
    """The final weights and each client's held-out sums under them."""

    weights: Weights
    held_out: Mapping[int, TextMetrics]


def run_job(job: Job, place: Workplace) -> RunRecord:
    """Runs a job, or resumes it; writes result.json and returns its content.

    Raises:
      Stopped: the study was interrupted.
      FedLMError: the run failed.
    """
    started = time.monotonic()
    vault, source = place.vaults.get(job)
    profile = profile_vault(vault, source, job)
    folder, resume = _open_folder(place.runs / job.name, job.config)
    with LocalEngine(WorkerCommand(vault, source.file), job.config.num_workers, place.workers) as engine:
        federation = StudyFederation(engine, job.config, folder, place.heard, job.case.sampling, profile.groups)
        _resume(federation, folder, place, resume=resume)
        trained = _train_centralised(federation, job) if job.case.centralised else _train_federated(federation)
        clients = client_sums(profile, trained.held_out, _local_only(federation, job, place.vaults))
        run = _evidence(job, federation, trained, clients, profile.minority)
        measured = run_metrics(run, profile, job.study.measures)  # inside: a measure may score texts on the workers
    record = RunRecord(
        key=job.key,
        condition=job.case.condition,
        algorithm=job.case.algorithm,
        x=job.case.x,
        seed=job.seed,
        folder=job.name,
        seconds=round(time.monotonic() - started, 1),
        weights_sha256=weights_sha256(trained.weights),
        **vars(measured),
    )
    record.write(folder.path)
    return record


def _open_folder(path: Path, config: RunConfig) -> tuple[RunFolder, bool]:
    """Returns the run's folder, and whether it has a checkpoint to resume from; without one, the folder is made again."""
    if path.exists() and RunFolder(path).has_checkpoint:
        return RunFolder.open(path), True
    shutil.rmtree(path, ignore_errors=True)
    return RunFolder.create(path, config), False


def _resume(federation: StudyFederation, folder: RunFolder, place: Workplace, *, resume: bool) -> None:
    """Starts the federation; rounds from before an interrupt are reported again, so that the progress bar counts them."""
    done = federation.start(resume=resume)
    federation.figures = folder.last_clients() if done else {}  # which agnostic sampling reads
    for line in done:
        place.listener(line)


def _train_federated(federation: StudyFederation) -> Trained:
    """Trains all rounds. Under early stopping the best weights are not the last ones, so they are evaluated again."""
    weights = federation.run()
    return Trained(weights, federation.figures if federation.best is None else federation.held_out(weights))


def _train_centralised(federation: StudyFederation, job: Job) -> Trained:
    """Trains one model on all text, with as many passes as a federated run makes over each client on average.

    passes = max(1, round(rounds * cohort_size / clients)) * local_epochs
    """
    visits = job.config.rounds * job.config.cohort_size
    passes = max(1, round(visits / len(federation.population.pseudonyms)))
    held_out, weights = federation.train_centralised(passes * job.config.local_epochs)
    return Trained(weights, held_out)


def _evidence(
    job: Job, federation: StudyFederation, trained: Trained, clients: tuple[ClientSums, ...], minority: str
) -> RunEvidence:
    """Returns what the run's measures may read."""
    return RunEvidence(
        clients=clients,
        minority=minority,
        rounds=federation.folder.metrics(),
        weights=trained.weights,
        seed=job.seed,
        score=lambda texts: federation.score(trained.weights, texts),
    )


def _local_only(federation: StudyFederation, job: Job, vaults: Vaults) -> dict[int, TextMetrics]:
    """Returns held-out sums under local-only models; empty if the study trains none."""
    passes, clients = job.study.local_passes, job.study.local_clients
    return vaults.local_only(job, lambda: federation.train_local_only(passes, clients)) if passes else {}
