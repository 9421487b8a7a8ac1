"""One run on this machine: prepare the vault if needed, start the nodes, train, and complete the run's folder."""

import contextlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients.probe import check_in_worker
from fedlm.config import RunConfig
from fedlm.data.corpus import is_of_public_text, is_public
from fedlm.errors import ConfigError, counted
from fedlm.models.catalog import model_about
from fedlm.preparation.split import with_test
from fedlm.privacy.guarantee import check_selection
from fedlm.privacy.vocabulary import NAME as PRIVATE_VOCABULARY
from fedlm.text.unknown import warn_of_unknown
from fedlm.types import Weights
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.engines.base import Engine, check_engine, run_on
from server.engines.workers import WorkerCommand
from server.run.baselines import ngram_baselines
from server.run.session import train_and_export
from server.run.settled import resumed_config, settled, without_effect
from server.run.strategies import accepts_mean, build_strategy
from server.run.summary import write_summary
from server.store.forgotten import Forgotten
from server.store.run_folder import RunFolder, working_in
from server.store.vault_state import VaultState, has_new_text
from server.store.warm_start import initial_weights


def is_vault_name(corpus: str) -> bool:
    """Returns whether the name of a corpus is that of a vault; opening it reports a file that is none."""
    vault = Path(corpus)
    is_database = vault.is_file() and vault.open("rb").read(16) == b"SQLite format 3\0"
    return is_database or (vault.suffix == ".db" and not vault.is_dir())


@dataclass(frozen=True)
class Simulation:
    """A call of `fedlm simulate`.

    Attributes:
      corpus: a vault (a SQLite file), or a corpus that is first sealed into the run's folder.
      out: the run's folder.
      source_of: returns the key source of a vault.
      prepare: makes a vault from corpus, vault, key, configuration and test corpus.
      config_file, overrides: the configuration, as a file or already read, and changes to it.
      resume: continue the run in `out`.
      init: another run, whose weights this run starts from.
      samples: show sample text of a private corpus in the report.
      echo: prints a line; None also hides the progress bar.
      engine: a file of `server/engines/`.
      listener: gets the part of each round's line of metrics.jsonl that may be shown.
      test: a corpus that is the held-out text, if `corpus` is no vault.
    """

    corpus: str
    out: Path
    source_of: Callable[[Path], KeySource]
    prepare: Callable[[str, Path, KeySource, RunConfig, str], None]
    config_file: Path | RunConfig | None = None
    overrides: Sequence[str] = ()
    resume: bool = False
    init: Path | None = None
    samples: bool = False
    echo: Callable[[str], object] | None = None
    engine: str = "local"
    listener: Callable[[dict[str, Any]], object] | None = None
    test: str = ""

    def run(self) -> dict[str, Any]:
        """Trains; returns the content of summary.json.

        Everything that can be checked in advance is checked before the folder is created. A new run that fails before its
        first checkpoint leaves no folder behind.

        Raises:
          ConfigError: a setting is invalid, or another process is using the folder.
        """
        return self._resume() if self.resume else self._start()

    def _resume(self) -> dict[str, Any]:
        folder = RunFolder.open(self.out)
        with working_in(self.out):
            asked = self._checked()
            folder.write_text("config.toml", asked.config.to_toml())
            return self._run(folder, asked)

    def _start(self) -> dict[str, Any]:
        asked = self._checked()
        folder = RunFolder.create(self.out, asked.config)
        with working_in(self.out):  # outside `try`: never remove the folder of another process
            try:
                return self._run(folder, asked)
            except BaseException:
                if not folder.has_checkpoint:
                    shutil.rmtree(folder.path, ignore_errors=True)  # never in place of the error itself
                raise

    def _checked(self) -> "_Asked":
        """Returns what the run needs, after checking that its parts can be combined."""
        config = self._config()
        initial = initial_weights(self.init, config) if self.init is not None else None
        config.privacy.check(accepts_mean=accepts_mean(build_strategy(config.strategy)))
        check_engine(self.engine)
        if is_vault_name(self.corpus):
            if self.test:
                raise ConfigError(
                    f"{self.corpus} is a vault, whose held-out text is settled: give --test to fedlm prepare."
                )
            vault = Path(self.corpus)
            config = self._as_prepared(config, vault)
        else:
            vault, config = self.out / "vault.db", with_test(config, self.test)
            public = is_public(self.corpus) and (not self.test or is_public(self.test))
            self._check_selection(config, {"max_clients": config.max_clients, "public": public})
        check_in_worker(config, self.source_of(vault).provider)
        return _Asked(config, vault, initial)

    def _config(self) -> RunConfig:
        if not self.resume:
            return RunConfig.load(self.config_file, self.overrides)
        if self.config_file is not None:
            raise ConfigError("A resumed run keeps its configuration: leave out --config with --resume.")
        return resumed_config(self.out, self.overrides)

    @staticmethod
    def _check_selection(config: RunConfig, about: Mapping[str, Any]) -> None:
        learns = config.spec("vocabulary").name == PRIVATE_VOCABULARY
        check_selection(config.privacy, about, has_private_vocabulary=learns)

    def _as_prepared(self, config: RunConfig, vault: Path) -> RunConfig:
        """Returns the configuration with the vault's own values for the keys of preparation; reports keys without effect."""
        with contextlib.closing(Vault(vault, self.source_of(vault))) as opened:
            about = opened.about
        self._check_selection(config, about)
        if self.resume:
            return config
        if config.spec("vocabulary").name == "chars":  # in which `fedlm prepare` counts
            warn_of_unknown(about.get("unknown_characters", 0), about.get("characters", 0), config.vocabulary)
        for sentence in without_effect(config, about):
            self._say(sentence)
        return config.model_copy(update=settled(about))

    def _run(self, folder: RunFolder, asked: "_Asked") -> dict[str, Any]:
        """Makes the vault if it is missing, trains, and writes summary and report."""
        vault, source, config = asked.vault, self.source_of(asked.vault), asked.config
        if not vault.exists():
            self.prepare(self.corpus, vault, source, config, self.test)
        about = self._about(folder, vault, source)
        if config.cohort_size > (clients := about["clients"] - about["evaluated_only"]) and not config.privacy.on:
            self._say(f"cohort_size={config.cohort_size} exceeds the population: all {clients} clients train.")
        command = WorkerCommand(vault, source.file, source.passphrase_env, source.provider)
        started = time.monotonic()
        weights = self._train(folder, asked, command)
        seconds, baselines = time.monotonic() - started, self._baselines(folder, vault, source)
        summary = write_summary(
            folder, folder.config, weights, about, seconds, samples=self.samples, baselines=baselines
        )
        self._tell_end(summary, folder)
        return summary

    def _about(self, folder: RunFolder, vault: Path, source: KeySource) -> dict[str, Any]:
        """Returns the summary's entries about the vault."""
        with contextlib.closing(Vault(vault, source)) as opened:
            about = Forgotten.read(folder.path).counted(opened)
            if not folder.has_checkpoint:
                VaultState.of(opened).write(folder.path)
            elif has_new_text(folder.path, opened):
                self._say(
                    "Text was added to the vault since the run began: its remaining rounds train on old and new text."
                )
        # Except for built-in corpora, pseudonyms are random, so only runs on the same vault have the same cohorts.
        about["vault"] = vault.name if vault.parent != folder.path or not is_of_public_text(about) else ""
        return about

    @staticmethod
    def _baselines(folder: RunFolder, vault: Path, source: KeySource) -> Mapping[str, Any]:
        """Returns the n-grams' figures on the text of the last evaluation; none for a model that predicts hidden tokens."""
        config, evaluated = folder.config, folder.final_clients()
        if not evaluated or model_about(config.spec("model").name).is_masked:
            return {}
        with contextlib.closing(Vault(vault, source)) as opened:
            kept = frozenset(map(int, opened.pseudonyms)) - Forgotten.read(folder.path).clients
            return ngram_baselines(opened, config.vocab, kept, kept & evaluated.keys())

    def _train(self, folder: RunFolder, asked: "_Asked", command: WorkerCommand) -> Weights:
        # Under differential privacy the terminal shows only what the ledger covers; lost workers are not covered.
        tell = self._say if not asked.config.privacy.on else lambda _: None

        def body(engine: Engine) -> Weights:
            return train_and_export(
                engine, asked.config, folder, asked.initial, resume=self.resume, echo=self.echo, listener=self.listener
            )

        # Said because seconds of silence follow.
        self._say(f"starting {counted(asked.config.num_workers, 'worker')} ({self.engine})")
        return run_on(self.engine, command, asked.config.num_workers, body, tell)

    def _tell_end(self, summary: Mapping[str, Any], folder: RunFolder) -> None:
        if stop := summary.get("early_stopping"):
            self._say(f"early stopping: the weights are those of round {stop['best_round']} of {stop['rounds']}")
            if "note" in stop:
                self._say(stop["note"])
        if final := summary.get("final"):
            figures = f"accuracy {final['accuracy']:.4f}, {final['bits_per_char']:.3f} bits per character"
            self._say(f"held-out {figures}, {summary['tokens_per_second']:,.0f} tokens/s")
        self._say(f"report: {folder.path / 'report.html'}")

    def _say(self, sentence: str) -> None:
        if self.echo is not None:
            self.echo(sentence)


@dataclass(frozen=True)
class _Asked:
    """What a run trains: the configuration, the vault (made first if missing), and initial weights if given."""

    config: RunConfig
    vault: Path
    initial: Weights | None
