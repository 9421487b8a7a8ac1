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

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from fedlm.config import RunConfig
from fedlm.errors import FedLMError
from fedlm.measure.metric import ClientSums, RunEvidence, WordVectors
from fedlm.models.catalog import model_about
from fedlm.plugins.trust import name_plugins, own_code
from fedlm.text.vocabulary import Vocabulary
from fedlm.types import Evaluated, TextMetrics, Weights
from fedlm.vault.format import Part
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from scenarios.runner.excerpts import equal_sums
from scenarios.runner.federation import StudyFederation
from scenarios.runner.job import Job
from scenarios.runner.metrics import Profile, client_sums, profile_vault, run_metrics, texts_of
from scenarios.runner.record import RunRecord
from scenarios.runner.vaults import Vaults
from server.engines.local import LocalEngine
from server.engines.workers import Idle, WorkerCommand
from server.run.baselines import ngram_baselines
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
      profile: describes the population of a vault before training.
    """

    runs: Path
    vaults: Vaults
    stop: threading.Event
    listener: Callable[[Mapping[str, Any]], None]
    workers: Idle | None = None
    profile: Callable[[Path, KeySource, Job], Profile] = profile_vault

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
    profile = place.profile(vault, source, job)
    folder, resume = _open_folder(place.runs / job.name, job.config)
    with LocalEngine(WorkerCommand(vault, source.file), job.config.num_workers, place.workers) as engine:
        federation = StudyFederation(
            engine,
            job.config,
            folder,
            place.heard,
            job.case.sampling,
            groups=profile.groups,
            minority=profile.minority,
            test_clients=job.study.test_clients,
        )
        _resume(federation, folder, place, resume=resume)
        trained = _train_centralised(federation, job) if job.case.centralised else _train_federated(federation)
        equal = equal_sums(
            {client: own for client, own in texts_of(vault, source).items() if client in trained.held_out},
            job.study.client_symbols,
            lambda texts: federation.score(trained.weights, texts),
        )
        clients = client_sums(profile, trained.held_out, _local_only(federation, job, place.vaults), equal)
        is_masked, who = model_about(job.config.spec("model").name).is_masked, _who(job, federation)
        run = replace(
            _evidence(job, federation, trained, clients, profile.minority),
            texts=lambda: _training_texts(vault, source, who),
            words=lambda: _word_vectors(job, trained.weights, _training_texts(vault, source, who)),
            ngrams=dict
            if is_masked
            else partial(_ngrams, vault, source, job.config.vocab, who, frozenset(trained.held_out)),
        )
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
    name_plugins(*own_code(config.model_dump()))  # the study names it
    if path.exists() and RunFolder(path).has_checkpoint:
        return RunFolder.open(path), True
    shutil.rmtree(path, ignore_errors=True)
    return RunFolder.create(path, config), False


def _resume(federation: StudyFederation, folder: RunFolder, place: Workplace, *, resume: bool) -> None:
    """Starts the federation; rounds from before an interrupt are reported again, so that the progress bar counts them."""
    done = federation.start(resume=resume)
    federation.figures = folder.last_clients() if done else {}  # of the text that steers, which agnostic sampling reads
    for line in done:
        place.listener(line)


def _train_federated(federation: StudyFederation) -> Trained:
    """Trains all rounds; returns figures on held-out text, which is read once, at the end, where there is validation text.

    Without it, the last evaluation gives them; under early stopping the best weights are not the last ones, and are evaluated
    again.
    """
    weights = federation.run()
    if federation.config.steering is Evaluated.VALIDATION:
        return Trained(weights, federation.folder.final_clients())
    return Trained(weights, federation.figures if federation.best is None else federation.held_out(weights))


def _train_centralised(federation: StudyFederation, job: Job) -> Trained:
    """Trains one model on all text, with as many passes as a federated run makes over each client on average.

    passes = max(1, round(rounds * cohort_size / clients)) * local_epochs

    With local_steps, it is as many passes as the symbols of all steps make over all text.
    """
    config, population = job.config, federation.population
    visits = config.rounds * config.cohort_size
    passes = max(1, round(visits / len(population.pseudonyms))) * config.local_epochs
    if config.local_steps:
        symbols = visits * config.local_steps * config.batch_size * config.seq_len
        passes = max(1, round(symbols / max(int(population.train_tokens.sum()), 1)))
    held_out, weights = federation.train_centralised(passes)
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
        has_equal=True,
        score=lambda texts: federation.score(trained.weights, texts),
        continue_=lambda pairs: federation.score(trained.weights, [t for _, t in pairs], [b for b, _ in pairs]),
    )


def _who(job: Job, federation: StudyFederation) -> frozenset[int]:
    """Returns the clients that the model was trained on."""
    return frozenset(map(int, federation.population.pseudonyms)) if job.case.centralised else federation.took_part()


def _training_texts(vault: Path, source: KeySource, clients: frozenset[int]) -> list[str]:
    return [text for c, own in texts_of(vault, source, Part.TRAIN).items() if c in clients for text in own]


def _word_vectors(job: Job, weights: Weights, texts: Sequence[str]) -> WordVectors:
    from fedlm.training.word_vectors import word_vectors  # loads TensorFlow

    return word_vectors(job.config, weights, texts)


@lru_cache(maxsize=8)  # the cases of a study often share a vault
def _ngrams(
    vault: Path, source: KeySource, vocab: Vocabulary, trained: frozenset[int], evaluated: frozenset[int]
) -> Mapping[str, float]:
    with contextlib.closing(Vault(vault, source)) as opened:
        return ngram_baselines(opened, vocab, trained, evaluated)


def _local_only(federation: StudyFederation, job: Job, vaults: Vaults) -> dict[int, TextMetrics]:
    """Returns held-out sums under local-only models; empty if the study trains none."""
    passes, clients = job.study.local_passes, job.study.local_clients
    return vaults.local_only(job, lambda: federation.train_local_only(passes, clients)) if passes else {}
