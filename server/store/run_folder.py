"""The folder of a run: configuration, checkpoints, metrics."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fedlm.artifacts import VOCABULARY_FILE
from fedlm.config import RunConfig
from fedlm.config_values import read_toml
from fedlm.errors import CohortError, ConfigError, DataError, FedLMError
from fedlm.plugins.trust import name_plugins, own_code
from fedlm.privacy.folder import CHECKPOINTS, PRIVATE, owned
from fedlm.system.figures_json import figures_of, to_json
from fedlm.system.files import check_new_folder, replacing, write_atomic
from fedlm.system.locks import holding
from fedlm.types import Pseudonyms, TextMetrics, Weights
from server.store.checkpoint import BEST, LATEST, Checkpoint
from server.store.forgotten import Forgotten

CONFIG = "config.toml"
CLIENTS = "clients.parquet"
FINAL, FINAL_CLIENTS = "final.json", "final_clients.parquet"
"""Figures on held-out text, in a run whose evaluation during training reads validation text."""


def recorded_config(run: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Returns the configuration in a run's folder, with overrides: the only way by which one is read."""
    return RunConfig.load(run / CONFIG, overrides, recorded=True)


def trust_plugins(run: Path) -> None:
    """Names the code that a run of this machine's own names; the command that began or resumed it has checked it."""
    name_plugins(*own_code(read_toml(run / CONFIG)))


class RunFolder:
    """The folder of one run, mode 0700.

    Args:
      path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> "RunFolder":
        """Makes the folder of a new run.

        Raises:
          ConfigError: `path` exists, or cannot be made.
        """
        check_new_folder(path, "name another --out, or continue with --resume")
        path.mkdir(parents=True, mode=0o700)
        if config.privacy.on:  # before anything else: it decides where the rest is kept
            (path / PRIVATE).mkdir(mode=0o700)
        folder = cls(path)
        name_plugins(*own_code(config.model_dump()))
        folder.write_text(CONFIG, config.to_toml())
        if config.vocabulary_text:
            folder.write_text(VOCABULARY_FILE, config.vocabulary_text)
        return folder

    @classmethod
    def open(cls, path: Path, *, forgetting: bool = False) -> "RunFolder":
        """Opens the folder of an earlier run; `forgetting` also opens a run whose deletion was interrupted.

        Raises:
          DataError: this is not a run's folder.
          ConfigError: files of it still depend on a client that is being forgotten.
        """
        if not (path / CONFIG).is_file():
            raise DataError(f"{path} is not a run's folder: it has no {CONFIG}.")
        if not forgetting:
            Forgotten.read(path).check_done(path)
        return cls(path)

    @property
    def config(self) -> RunConfig:
        """The run's configuration.

        Raises:
          ConfigError: it is invalid, or names code that the user of this process did not (`fedlm.plugins`).
        """
        return recorded_config(self.path)

    @cached_property
    def figures(self) -> Path:
        """The folder for figures that no privacy ledger covers: this one, or under differential privacy its `private/`."""
        if not self.config.privacy.on:
            return self.path
        folder = self.path / PRIVATE
        folder.mkdir(exist_ok=True, mode=0o700)
        return folder

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints and of what tells the cohorts; under differential privacy in `private/`."""
        return owned(self.path, CHECKPOINTS)

    def public(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the part of a round's line that may be shown: all, or under differential privacy what the ledger covers."""
        if self.figures == self.path:
            return dict(line)
        return {k: line[k] for k in ("round", "epsilon", "covers", "clip_norm") if k in line}

    def write_text(self, name: str, text: str) -> None:
        """Writes a file of the folder, whole or not at all."""
        write_atomic(self.path / name, text)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Writes a binary file of the folder, whole or not at all."""
        write_atomic(self.path / name, content)

    def save_checkpoint(self, checkpoint: Checkpoint, *, keep: bool = False, name: str = LATEST) -> None:
        """Saves a checkpoint as the latest, or by another name; `keep` also saves it under the round's number."""
        folder = self.checkpoints
        folder.mkdir(exist_ok=True, mode=0o700)
        names = [name, *([f"round-{checkpoint.round:06d}.safetensors"] if keep else [])]
        for name in names:
            with replacing(folder / name) as beside:
                checkpoint.write(beside)

    def load_checkpoint(self, name: str = "") -> Checkpoint:
        """Returns the latest checkpoint, or a kept one by its file's name.

        Raises:
          FedLMError: there is none, or it is damaged.
        """
        file = self.checkpoints / (name or LATEST)
        if not file.is_file():
            raise FedLMError(f"{self.path} has no checkpoint {name or LATEST}: start a new run.")
        return Checkpoint.read(file)

    def final_weights(self) -> Weights:
        """Returns the weights that the run ends with: the best ones under early stopping, otherwise the latest.

        Raises:
          FedLMError: there are none, or the file is damaged.
        """
        return self.load_checkpoint(BEST if self.config.patience else LATEST).weights

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a latest checkpoint."""
        return (self.checkpoints / LATEST).is_file()

    def write_final(self, figures: Mapping[str, Any]) -> None:
        """Writes the final figures on held-out text, where evaluation during training reads validation text."""
        write_atomic(self.figures / FINAL, to_json(figures) + "\n")

    def final(self) -> dict[str, Any]:
        """Returns what `write_final` wrote; empty without it."""
        file = self.figures / FINAL
        return figures_of(file.read_text()) if file.is_file() else {}

    def write_clients(self, server_round: int, figures: Mapping[int, TextMetrics], *, is_final: bool = False) -> None:
        """Adds a round's sums per client (by pseudonym) to clients.parquet; rows of this and later rounds are dropped.

        The final ones on held-out text, after validation text in the rounds, replace those in a file of their own.
        """
        import pyarrow as pa
        from pyarrow import compute, parquet

        order = sorted(figures)
        columns = {
            "round": [server_round] * len(order),
            "client": pa.array(order, pa.uint64()),
            **{k: [getattr(figures[c], k) for c in order] for k in ("loss_sum", "correct", "tokens", "characters")},
        }
        table, path = pa.table(columns), self.figures / (FINAL_CLIENTS if is_final else CLIENTS)
        if path.is_file() and not is_final:
            # `read_table` starts eight threads even for one local file, and each keeps its own memory
            with parquet.ParquetFile(path) as file:
                old = file.read(use_threads=False)
            table = pa.concat_tables([old.filter(compute.less(old["round"], server_round)), table])
        with replacing(path) as beside:
            parquet.write_table(table, beside)

    def last_clients(self) -> dict[int, TextMetrics]:
        """Returns the sums per client of the last evaluation in clients.parquet; empty if there is none."""
        return self._last_of(CLIENTS)

    def final_clients(self) -> dict[int, TextMetrics]:
        """Returns the sums per client that the final figures are made of; empty where they are not kept."""
        return self._last_of(FINAL_CLIENTS if self.config.validation_fraction else CLIENTS)

    def _last_of(self, name: str) -> dict[int, TextMetrics]:
        from pyarrow import parquet

        file = self.figures / name
        rows = parquet.read_table(file).to_pylist() if file.is_file() else []
        last = max((row["round"] for row in rows), default=0)
        kept = [row for row in rows if row["round"] == last]
        return {r["client"]: TextMetrics(r["loss_sum"], r["correct"], r["tokens"], r["characters"]) for r in kept}

    def keep_population(self, pseudonyms: Pseudonyms) -> None:
        """Records the population of a deployment's run at its start; a resumed run must have the same.

        Raises:
          CohortError: the nodes' clients have changed.
        """
        # Sorted: nodes may answer in another order, and a client may have moved to another node.
        digest, file = hashlib.sha256(np.sort(pseudonyms).tobytes()).hexdigest(), self.figures / "population.sha256"
        if not self.has_checkpoint or not file.is_file():
            self.write_text(str(file.relative_to(self.path)), digest)
        elif file.read_text() != digest:
            raise CohortError("The nodes' clients have changed since the start of the run: start a new run.")

    def start_metrics(self, lines: Sequence[dict[str, Any]] = ()) -> None:
        """Rewrites metrics.jsonl; under differential privacy both the private file and the public one."""
        contents = {self.path: map(self.public, lines)} if self.figures != self.path else {}
        for folder, kept in {**contents, self.figures: lines}.items():
            write_atomic(folder / "metrics.jsonl", "".join(to_json(line) + "\n" for line in kept))

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl; under differential privacy the public file gets only what the ledger covers."""
        lines = {self.figures: line} | ({self.path: self.public(line)} if self.figures != self.path else {})
        for folder, content in lines.items():
            with (folder / "metrics.jsonl").open("a") as file:
                file.write(to_json(content) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Returns the lines of metrics.jsonl, with NaN for undefined figures; an incomplete last line is skipped."""
        file = self.figures / "metrics.jsonl"
        lines = []
        for text in file.read_text().splitlines() if file.is_file() else []:
            with contextlib.suppress(json.JSONDecodeError):
                lines.append(figures_of(text))
        return lines

    def drop_metrics_after(self, server_round: int) -> None:
        """Drops the lines of rounds after the checkpoint."""
        kept = [m for m in self.metrics() if m["round"] <= server_round]
        self.start_metrics(kept)


# A deployment's run: its id and the number of its nodes, the lock of its ServerApp, the lock of the
# command that follows it, and which nodes wait for their owners.
DEPLOYED, LOCK, FOLLOWED, WAITING = "deployed.json", ".lock", ".followed", ".waiting"
LOCK_SECONDS = 60.0  # a ServerApp without its SuperLink stops within this time


@contextlib.contextmanager
def working_in(run: Path) -> Iterator[None]:
    """Makes this process the only one that trains or rewrites a run; two would interleave its metrics and ledgers.

    Raises:
      ConfigError: another process is using the folder.
    """
    problem = f"Another process is using {run}: wait until it has finished, or stop it first. Nothing was changed."
    with holding(run / LOCK, os.getpid(), problem, kind=ConfigError):
        yield
