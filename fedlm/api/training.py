"""`simulate`: a vault becomes a model."""

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedlm.api.inputs import Config, PathLike, as_text, base_of, key_source, run_folder
from fedlm.api.preparing import prepare
from fedlm.api.run import Run
from fedlm.config import RunConfig
from fedlm.errors import ConfigError, FailedUpdates
from fedlm.plugins.trust import name_plugins

if TYPE_CHECKING:
    from fedlm.vault.keys import KeySource


def simulate(
    vault_or_corpus: PathLike,
    config: Config = None,
    *,
    out: PathLike | None = None,
    workers: int | None = None,
    resume: bool = False,
    init: PathLike | None = None,
    engine: str = "local",
    key: "KeySource | PathLike | None" = None,
    listener: Callable[[dict[str, Any]], object] | None = None,
    plugins: Iterable[str] = (),
    test: PathLike | None = None,
    **overrides: object,
) -> Run:
    """Trains a model by federated averaging over the clients of a vault, on this machine.

    Args:
      vault_or_corpus: a vault, or a corpus that is sealed into the run's folder first.
      config: the run's configuration.
      out: the run's folder; by default runs/TIME-CORPUS.
      workers: worker processes; None takes the configuration's, one per core.
      resume: continue from the last checkpoint in `out`.
      init: another run's folder, to start from its weights.
      engine: `local` or `ray`.
      key: a key file, or a `fedlm.vault.keys.KeySource`; by default VAULT.key beside the vault.
      listener: called after each round with its line of metrics.jsonl; under differential privacy, with what the ledger
        covers of it.
      plugins: code outside fedlm that the run's folder or `init` may name, see `load_run`.
      test: where a corpus is sealed, another corpus whose documents are its held-out text, see `prepare`.
      overrides: configuration keys, such as `rounds=200`.

    Raises:
      ConfigError: a key of the configuration is invalid, or `out` exists already.
      VaultError, CorpusError: the vault or the corpus does not open.
      CohortError: too few clients finished a round. The run continues with `resume=True`.

    Warns:
      FailedUpdates: updates of clients failed and were left out.

    >>> run = simulate("chat.db", RunConfig(model="lstm(units=8, layers=1)"), out="first", rounds=1, cohort_size=2)
    >>> len(run.weights_sha256)
    64
    """
    from server.run.summary import failed_updates
    from server.simulation import Simulation

    def seal(corpus: str, vault: Path, source: "KeySource", chosen: RunConfig, given: str) -> None:
        prepare(corpus, vault, chosen, key=source, test=given or None)

    name_plugins(*plugins)
    if resume and out is None:
        raise ConfigError("To resume a run, name its folder with out=.")
    settings = overrides if workers is None else {**overrides, "workers": workers}
    folder = run_folder(str(vault_or_corpus)) if out is None else Path(out)
    summary = Simulation(
        corpus=str(vault_or_corpus),
        out=folder,
        config_file=base_of(config),
        overrides=as_text(settings),
        resume=resume,
        init=None if init is None else Path(init),
        source_of=lambda vault: key_source(vault, key),
        prepare=seal,
        engine=engine,
        listener=listener,
        test="" if test is None else str(test),
    ).run()
    if sentence := failed_updates(summary):
        warnings.warn(sentence, FailedUpdates, stacklevel=2)
    return Run(folder)
