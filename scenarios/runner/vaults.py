"""The sealed data that runs of a study share, and what is the same for all runs on it."""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

from fedlm.preparation.vault import prepare
from fedlm.types import TextMetrics
from fedlm.vault.keys import KeySource
from scenarios.runner.job import fingerprint, hash_of

if TYPE_CHECKING:
    from scenarios.runner.job import Job

_PREPARATION = (
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


class Vaults:
    """Sealed data that runs share: one vault for each corpus, preparation and seed. Made once, by the run that comes first,
    whatever thread or process it is in.

    Args:
      folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, job: "Job") -> tuple[Path, KeySource]:
        """Returns the vault of a run and its key."""
        name = self._name(job)
        path = self._folder / f"{name}.db"
        source = KeySource(file=self._folder / f"{name}.key")
        with self._one(name):
            if not path.exists():
                prepare(job.corpus, path, source, job.config, lambda done, total: None)
        return path, source

    def alone(self, job: "Job", train: Callable[[], dict[int, TextMetrics]]) -> dict[int, TextMetrics]:
        """Returns held-out sums of models of single clients: they are the same for all runs that differ at the server."""
        local = {k: getattr(job.config, k) for k in _LOCAL}
        name = hash_of([self._name(job), local, job.study.alone, job.study.alone_clients])
        file = self._folder / f"alone-{name}.json"
        with self._one(name):
            if not file.is_file():
                content = json.dumps({client: astuple(sums) for client, sums in train().items()})
                beside = file.with_suffix(".new")
                beside.write_text(content)
                beside.replace(file)
            found = json.loads(file.read_text())
        return {int(client): TextMetrics(*sums) for client, sums in found.items()}

    def _name(self, job: "Job") -> str:
        return hash_of([{k: getattr(job.config, k) for k in _PREPARATION}, fingerprint(job.corpus)])[:16]

    @contextmanager
    def _one(self, name: str) -> Iterator[None]:
        """Lets one run at a time make what has this name, of whatever process."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._folder / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def remove(self) -> None:
        """Removes them and their keys."""
        shutil.rmtree(self._folder, ignore_errors=True)
