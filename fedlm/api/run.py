"""`Run`: what a run's folder holds, and its model."""

import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedlm.api.inputs import PathLike
from fedlm.config import RunConfig
from fedlm.errors import ConfigError, FedLMError
from fedlm.plugins.trust import name_plugins
from fedlm.system.figures_json import figures_of

if TYPE_CHECKING:
    import pandas

    from fedlm.text.vocabulary import Vocabulary
    from fedlm.types import Weights


def load_run(path: PathLike, *, owner: bool = False, plugins: Iterable[str] = ()) -> "Run":
    """Opens the folder of a run.

    Args:
      path: the folder.
      owner: under differential privacy, show the run's owner the figures that no noise covers. Nothing that was computed
        from them may be released.
      plugins: code outside fedlm that the run may load, such as `mine.models:build`. What a run's folder names is not
        loaded unless you name it: the folder may be somebody else's.

    Raises:
      DataError: it is not a run's folder.

    >>> load_run("first").metrics["round"].tolist()
    [0, 1]
    """
    from server.store.run_folder import RunFolder

    name_plugins(*plugins)
    return Run(RunFolder.open(Path(path)).path, owner=owner)


class Run:
    """A run: its configuration, figures and model. Everything is read on first use.

    Args:
      path: the run's folder.
      owner: see `load_run`.

    >>> run = Run(Path("first"))
    >>> run.config.cohort_size, run.ledger
    (2, None)
    >>> run.weights[0].dtype, run.vocabulary.size
    (dtype('float32'), 128)
    """

    def __init__(self, path: Path, *, owner: bool = False) -> None:
        self.path, self.is_owner = path, owner

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @cached_property
    def _folder(self) -> Any:
        from server.store.run_folder import RunFolder

        return RunFolder.open(self.path)

    @cached_property
    def config(self) -> RunConfig:
        """The configuration."""
        found: RunConfig = self._folder.config
        return found

    @property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json: seed, versions, tokens per second, final figures.

        Under differential privacy, figures that the ledger does not cover are included for the owner only.

        Raises:
          FedLMError: the run has not finished.
        """
        file = self.path / "summary.json"
        if not file.is_file():
            raise FedLMError(f"The run {self.path} has not finished: continue it with --resume.")
        found = figures_of(file.read_text())
        private = self._folder.figures / "summary.json"
        return found | figures_of(private.read_text()) if self.is_owner else found

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the final weights, as float32 bytes in Keras order."""
        return str(self.summary["weights_sha256"])

    @property
    def metrics(self) -> "pandas.DataFrame":
        """One row per round; empty cells in rounds without an evaluation.

        Columns: `round`, `cohort` (clients), `failed` (clients), `tokens` (training targets), `seconds`, `train_loss`
        (nats per token); of the held-out text `loss` (nats per token), `accuracy`, `perplexity`, `bits_per_char`,
        `held_out_tokens`; with `validation_fraction`, of the validation text, and `validation_tokens`. Under differential privacy `round`, `epsilon`, `covers` (for whom it holds) and `clip_norm` only,
        unless the owner asks.
        """
        import pandas

        lines = self._folder.metrics()
        shown = lines if self.is_owner else map(self._folder.public, lines)
        return pandas.DataFrame([_flat(line) for line in shown])

    @property
    def clients(self) -> "pandas.DataFrame":
        """A row for each client and evaluation: `part` (`validation` or `held_out`), `round`, `client` (pseudonym, uint64),
        sums over this text, and their ratios.

        Sums: `loss_sum` (nats), `correct`, `tokens`, `characters`. Ratios: `loss` (nats per token), `accuracy`,
        `bits_per_char`. Add sums over clients before you divide; a mean of ratios weights clients, not tokens.

        Raises:
          ConfigError: the run is differentially private, and it was not opened with `owner=True`.
        """
        import numpy as np
        import pandas

        self._check_owner("the figures of single clients")
        rounds = "validation" if self.config.validation_fraction else "held_out"
        files = {
            self._folder.figures / "clients.parquet": rounds,
            self._folder.figures / "final_clients.parquet": "held_out",
        }
        tables = [pandas.read_parquet(file).assign(part=part) for file, part in files.items() if file.is_file()]
        if not tables:
            raise FedLMError(f"The run {self.path} has no figures of single clients.")
        found = pandas.concat(tables, ignore_index=True)
        targets = found["tokens"].where(found["tokens"] > 0)
        found["loss"] = found["loss_sum"] / targets
        found["accuracy"] = found["correct"] / targets
        found["bits_per_char"] = found["loss_sum"] / np.log(2) / found["characters"].where(found["characters"] > 0)
        return found

    @property
    def ledger(self) -> dict[str, Any] | None:
        """The privacy ledger: its statement, its assumptions and a line a release; None without differential privacy."""
        from fedlm.privacy.ledger import FILE, Ledger

        return Ledger.read(self.path / FILE, self.config.privacy).as_dict() if self.config.privacy.on else None

    @property
    def vocabulary(self) -> "Vocabulary":
        """The vocabulary: `encode`, `decode` and `size`."""
        return self.config.vocab

    @property
    def weights(self) -> "Weights":
        """The final weights, float32 arrays in Keras order; of an unfinished run, those of its last checkpoint."""
        found: Weights = self._folder.final_weights()
        return found

    @property
    def model(self) -> Any:
        """The Keras model with the final weights; loads TensorFlow."""
        return self.trainer.model

    @cached_property
    def trainer(self) -> Any:
        """A `fedlm.training.trainer.LocalTrainer` that holds the model; loads TensorFlow."""
        from fedlm.system.terminal import quiet_stderr

        weights = self.weights
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with quiet_stderr():
            from fedlm.training.trainer import LocalTrainer

            found = LocalTrainer(self.config)
        found.assign(weights)
        return found

    @property
    def held_out(self) -> dict[str, float]:
        """The final held-out figures; of an unfinished run, those of its last evaluation, and of which `round`.

        With `validation_fraction` an unfinished run has none: held-out text is read at its end.

        Raises:
          ConfigError: the run is differentially private, and it was not opened with `owner=True`.
        """
        self._check_owner("its held-out figures")
        done = self._folder.figures / "summary.json"
        if done.is_file():
            return dict(figures_of(done.read_text())["final"])
        lines = [
            {"round": line["round"], **line["eval"]}
            for line in self._folder.metrics()
            if "eval" in line and line.get("part", "held_out") == "held_out"
        ]
        return lines[-1] if lines else {}

    def _check_owner(self, what: str) -> None:
        if self.config.privacy.on and not self.is_owner:
            raise ConfigError(
                f"{self.path} was trained with differential privacy, and its ledger does not cover {what}. They are for the "
                f"run's owner only, in {self._folder.figures}; in Python: load_run(path, owner=True)."
            )


def opened(run: Run | PathLike) -> Run:
    """Returns a run, or the one in a folder."""
    return run if isinstance(run, Run) else load_run(run)


def _flat(line: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a line of metrics.jsonl as a row: figures of the evaluation beside the others, under names that do not collide."""
    row = {key: value for key, value in line.items() if not isinstance(value, Mapping)}
    tokens = f"{row.pop('part', 'held_out')}_tokens"
    row |= {tokens if key == "tokens" else key: value for key, value in line.get("eval", {}).items()}
    return row | {f"drift_{key}": value for key, value in line.get("drift", {}).items()}
