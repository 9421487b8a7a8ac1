"""One run on this machine: prepare if need be, start the workers, train, and leave a complete folder."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.serverapp import Grid

from fedlm.config import RunConfig
from fedlm.data.corpus import is_of_public_text
from fedlm.errors import ConfigError
from fedlm.system.terminal import ClientProgress
from fedlm.types import Weights
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.engines.local import LocalGrid
from server.engines.workers import WorkerCommand
from server.run.federation import Federation
from server.run.strategies import accepts_mean, build_strategy
from server.run.summary import EventLog, write_summary
from server.run.vocabulary import settle_vocabulary
from server.store.forgotten import Forgotten
from server.store.run_folder import RunFolder, working_in
from server.store.warm_start import initial_weights

_PREPARED = ("scrub", "partition", "holdout_fraction", "min_documents", "max_clients")  # settled with the vault
_MAY_CHANGE = {"rounds", "workers", "timeout", "quorum", "eval_every", "eval_clients", "checkpoint_every", "keep_every"}


def resumed_config(out: Path, overrides: Sequence[str]) -> RunConfig:
    """Returns the configuration of a run that goes on, with what may change then: more rounds, say.

    Raises:
      ConfigError: something else would change.
    """
    fixed = RunFolder.open(out).config.model_dump()
    config = RunConfig.load(out / "config.toml", overrides)
    # under early stopping, the evaluations say which round is best
    free = _MAY_CHANGE - ({"eval_every", "eval_clients"} if config.patience else set())
    changed = [k for k, v in config.model_dump().items() if v != fixed[k] and k not in free]
    if changed:
        raise ConfigError(f"A resumed run keeps its configuration; {changed[0]} cannot change with --resume.")
    return config


@dataclass(frozen=True)
class Simulation:
    """What `fedlm simulate` was asked for.

    Attributes:
      corpus: a vault (a SQLite file), or a corpus that is sealed into the run's folder first.
      out: the run's folder.
      config_file, overrides: the configuration; the file, or one that is read already.
      resume: go on with `out`.
      init: another run, to start from its weights.
      samples: show sample text of a private corpus in the report.
      source_of: returns where the key of a vault is.
      prepare: makes a vault: corpus, vault, key, configuration.
      echo: prints a line; None shows no progress either.
      engine: local or ray.
      listener: gets what may be shown of each round's line of metrics.jsonl.
    """

    corpus: str
    out: Path
    config_file: Path | RunConfig | None
    overrides: Sequence[str]
    resume: bool
    init: Path | None
    samples: bool
    source_of: Callable[[Path], KeySource]
    prepare: Callable[[str, Path, KeySource, RunConfig], None]
    echo: Callable[[str], object] | None
    engine: str = "local"
    listener: Callable[[dict[str, Any]], object] | None = None

    def run(self) -> dict[str, Any]:
        """Trains; returns the content of summary.json.

        What can be wrong is looked at before the folder is made; a new run that fails before its first checkpoint
        leaves no folder.

        Raises:
          ConfigError: a setting does not do, or another process works in the folder.
        """
        if self.resume:
            folder = RunFolder.open(self.out)
            with working_in(self.out):
                config, vault, initial = self._checked()
                folder.write_text("config.toml", config.to_toml())
                return self._run(folder, config, vault, initial)
        config, vault, initial = self._checked()
        folder = RunFolder.create(self.out, config)
        with working_in(self.out):  # outside of `try`: the folder of another process is never removed
            try:
                return self._run(folder, config, vault, initial)
            except BaseException:
                if not folder.has_checkpoint:
                    shutil.rmtree(folder.path)
                raise

    def _checked(self) -> tuple[RunConfig, Path, Weights | None]:
        """Returns the configuration, the vault (to be made, if there is none), and the first weights if they are given."""
        config = self._config()
        initial = initial_weights(self.init, config) if self.init is not None else None
        config.privacy.check(accepts_mean=accepts_mean(build_strategy(config.strategy)))
        if self.engine not in ("local", "ray"):
            raise ConfigError(f"There is no engine {self.engine!r}: use local or ray.")
        vault = Path(self.corpus)
        is_vault = vault.is_file() and vault.open("rb").read(16) == b"SQLite format 3\0"
        if is_vault or (vault.suffix == ".db" and not vault.is_dir()):  # what is no vault says so when it is opened
            return self._as_prepared(config, vault), vault, initial
        return config, self.out / "vault.db", initial

    def _as_prepared(self, config: RunConfig, vault: Path) -> RunConfig:
        """Returns the configuration with what was settled when the vault was prepared, and says what else was asked for."""
        opened = Vault(vault, self.source_of(vault))
        about = opened.about
        opened.close()
        if self.resume:
            return config
        asked, default = config.model_dump(), RunConfig.checked({}).model_dump()
        settled = {k: about[k] for k in _PREPARED if k in about}
        for key, value in settled.items():
            if asked[key] not in (value, default[key]) and self.echo:
                self.echo(f"{key}={asked[key]!r} has no effect: the vault was prepared with {value!r}")
        return config.model_copy(update=settled)

    def _run(self, folder: RunFolder, config: RunConfig, vault: Path, initial: Weights | None) -> dict[str, Any]:
        source = self.source_of(vault)
        if not vault.exists():
            self.prepare(self.corpus, vault, source, config)
        opened = Vault(vault, source)
        about = Forgotten.read(folder.path).counted(opened)
        # Others than the built-in corpora have random pseudonyms: the same cohorts are those of the same vault.
        about["vault"] = vault.name if vault.parent != folder.path or not is_of_public_text(about) else ""
        opened.close()
        if config.cohort_size > (clients := about["clients"]) and self.echo and not config.privacy.on:
            self.echo(f"cohort_size {config.cohort_size} is larger than the population: all {clients} clients train")
        started = time.monotonic()
        weights = self._train(
            folder, config, WorkerCommand(vault, source.file, source.passphrase_env, source.provider), initial
        )
        return self._finish(folder, folder.config, weights, about, time.monotonic() - started)

    def _config(self) -> RunConfig:
        if not self.resume:
            return RunConfig.load(self.config_file, self.overrides)
        if self.config_file is not None:
            raise ConfigError("A resumed run keeps its configuration; --config cannot change with --resume.")
        return resumed_config(self.out, self.overrides)

    def _train(self, folder: RunFolder, config: RunConfig, command: WorkerCommand, initial: Weights | None) -> Weights:
        def body(grid: Grid) -> Weights:
            return self._federate(grid, folder, config, initial)

        if self.engine == "ray":
            from server.engines.ray import run_on_ray

            return run_on_ray(command, config.num_workers, body)
        # Under differential privacy a terminal shows only what the ledger covers: which round cost a worker is no part of it.
        tell = self.echo if self.echo and not config.privacy.on else lambda _: None
        with LocalGrid(command, config.num_workers, tell=tell) as grid:
            return body(grid)

    def _federate(self, grid: Grid, folder: RunFolder, config: RunConfig, initial: Weights | None) -> Weights:
        with ClientProgress("training", quiet=self.echo is None) as progress:
            note = ""

            def show(line: dict[str, Any]) -> None:
                nonlocal note
                events.add(line)
                if self.listener is not None:
                    self.listener(folder.public(line))
                if config.privacy.on:
                    note = "epsilon unbounded" if line["epsilon"] is None else f"epsilon {line['epsilon']:.4g}"
                elif "eval" in line:
                    figures = line["eval"]
                    note = f"held-out accuracy {figures['accuracy']:.4f}, {figures['bits_per_char']:.3f} bits/char"
                    note += f" (round {line['round']})"
                progress.update(line["round"], config.rounds, note)

            config = settle_vocabulary(grid, config, folder)
            run = Federation(grid, config, folder, show)
            before = run.start(resume=self.resume)
            if self.echo and before and before[-1]["round"] >= config.rounds:
                self.echo(f"nothing is left to train: the run has {before[-1]['round']} rounds, rounds={config.rounds}")
            with EventLog(folder.figures, before) as events:
                weights = run.run(initial=initial)
            if run.private is not None and self.echo:
                done = folder.metrics()[-1]["round"]
                if config.epsilon_budget and done < config.rounds:
                    self.echo(
                        f"stopped after round {done}: another would pass epsilon_budget={config.epsilon_budget:g}"
                    )
                self.echo(run.private.ledger.statement())
            model, sample = run.export(weights)
        folder.write_bytes("model.keras", model)
        folder.write_text("sample.txt", sample)
        return weights

    def _finish(
        self, folder: RunFolder, config: RunConfig, weights: Weights, about: dict[str, object], seconds: float
    ) -> dict[str, Any]:
        summary = write_summary(folder, config, weights, about, seconds, samples=self.samples)
        if self.echo:
            if stop := summary.get("early_stopping"):
                self.echo(f"early stopping: the weights are those of round {stop['best_round']} of {stop['rounds']}")
            if final := summary.get("final"):
                figures = f"accuracy {final['accuracy']:.4f}, {final['bits_per_char']:.3f} bits per character"
                self.echo(f"held-out {figures}, {summary['tokens_per_second']:,.0f} tokens/s")
            self.echo(f"report: {folder.path / 'report.html'}")
        return summary
