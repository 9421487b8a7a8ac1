"""The sealed data that runs of a study share, and what is the same for all runs on it."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

from fedlm.config import RunConfig
from fedlm.preparation.vault import prepare
from fedlm.system.files import write_atomic
from fedlm.system.locks import one_at_a_time
from fedlm.types import TextMetrics
from fedlm.vault.keys import KeySource
from scenarios.runner.job import Job, fingerprint, hash_of

PREPARATION = (
    "seed",
    "scrub",
    "partition",
    "max_clients",
    "min_documents",
    "holdout_fraction",
    "pseudonym_key",
    "vocabulary",
)
_LOCAL = (
    "seed",
    "model",
    "vocabulary",
    "seq_len",
    "batch_size",
    "local_epochs",
    "client_optimizer",
    "client_schedule",
    "proximal_mu",
    "l1",
    "l2",
    "label_smoothing",
    "client_patience",
    "client_holdout",
)


def preparation_of(config: RunConfig) -> dict[str, object]:
    """Returns what decides how text is sealed. Without validation text it is what it was before there was any."""
    validation = {"validation_fraction": config.validation_fraction} if config.validation_fraction else {}
    return {key: getattr(config, key) for key in PREPARATION} | validation


class Vaults:
    """Sealed data that runs share: one vault for each corpus, preparation and seed.

    The run that comes first makes it, in whatever thread or process; the others wait for a file lock of its name.

    Args:
      folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, job: Job) -> tuple[Path, KeySource]:
        """Returns the vault of a run and its key."""
        name = self._name(job)
        path = self._folder / f"{name}.db"
        source = KeySource(file=self._folder / f"{name}.key")
        with self.locked(name):
            if not path.exists():  # `prepare` renames a finished file there: what exists is whole
                prepare(job.corpus, path, source, job.config, lambda done, total: None, test=job.test)
        return path, source

    def local_only(self, job: Job, train: Callable[[], Mapping[int, TextMetrics]]) -> dict[int, TextMetrics]:
        """Returns held-out sums of local-only models: the same for all runs that differ at the server only.

        Args:
          job: one of these runs.
          train: trains the models, if no run before did.
        """
        local = {k: getattr(job.config, k) for k in _LOCAL}
        name = hash_of([self._name(job), local, job.study.local_passes, job.study.local_clients])
        file = self._folder / f"local-only-{name}.json"
        with self.locked(name):
            if not file.is_file():
                sums = {client: astuple(metrics) for client, metrics in train().items()}
                write_atomic(file, json.dumps(sums))
            found = json.loads(file.read_text(encoding="utf-8"))
        return {int(client): TextMetrics(*sums) for client, sums in found.items()}

    def remove(self) -> None:
        """Removes the vaults and their keys."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _name(self, job: Job) -> str:
        test = [fingerprint(job.test)] if job.test else []
        return hash_of([preparation_of(job.config), fingerprint(job.corpus), *test])[:16]

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Makes sure that one run at a time, in any process, creates the file of this name."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with one_at_a_time(self._folder / f"{name}.lock"):
            yield
