"""`tune`: a search for settings, on validation text only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedlm.api.inputs import Config, PathLike, as_text, base_of, key_source
from fedlm.api.preparing import prepare
from fedlm.config import RunConfig

if TYPE_CHECKING:
    import pandas

    from fedlm.vault.keys import KeySource
    from scenarios.tuning.grid import Grid
    from scenarios.tuning.outcome import Outcome


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Attributes:
      folder: with tuned.csv, tuned.json and the configuration files.
      content: the content of tuned.json, with every figure; what is undefined is None.
      found: the same for the code.
    """

    folder: Path
    content: dict[str, Any]
    found: "tuple[Outcome, Grid]" = field(repr=False, compare=False)

    @property
    def chosen(self) -> dict[str, dict[str, str] | None]:
        """The chosen values by method; the method is "" without `per`, and None is chosen where every setting diverged."""
        return {method["method"]: method["chosen"] for method in self.content["methods"]}

    @property
    def notes(self) -> list[str]:
        """Sentences on the choice: the grid's edges, noise, options that were left out."""
        return [note for method in self.content["methods"] for note in method["notes"]] + list(self.content["notes"])

    def config(self, method: str = "") -> RunConfig:
        """Returns the configuration with the chosen values: of a method, or the best of all.

        Raises:
          ConfigError: nothing was chosen.
        """
        from scenarios.tuning.outcome import chosen_config

        return chosen_config(self.found[0], method)

    @property
    def table(self) -> "pandas.DataFrame":
        """The table: a row for each setting, as tuned.csv has it."""
        import pandas

        return pandas.read_csv(self.folder / "tuned.csv")


def tune(
    vault_or_corpus: PathLike,
    grid: Mapping[str, Sequence[object]] | Sequence[str],
    config: Config = None,
    *,
    per: str = "",
    seeds: int = 3,
    out: PathLike | None = None,
    key: "KeySource | PathLike | None" = None,
    echo: Callable[[str], object] | None = None,
    **overrides: object,
) -> Tuned:
    """Searches a grid of settings: the same rounds and seeds for each, compared on validation text.

    Validation text is drawn from the training part of the data; the held-out part is never opened. After an interrupt, call it
    again with the same folder: finished runs are kept, also for a grid with more values.

    Args:
      vault_or_corpus: a vault, or a corpus.
      grid: values by configuration key or option (`{"client_optimizer.learning_rate": [0.3, 1, 3]}`), or as the command
        line has them (`["client_optimizer.learning_rate=0.3,1,3"]`).
      config: of all that does not vary.
      per: a key of the grid whose values are tuned separately, such as `strategy`.
      seeds: how many runs each setting gets; they are 1000000 and on, apart from those of studies.
      out: the search's folder; by default runs/tune-CORPUS.
      key: a key file, or a `fedlm.vault.keys.KeySource`; by default VAULT.key beside the vault.
      echo: prints a line; by default nothing is shown.
      overrides: configuration keys, such as `rounds=20`.

    Raises:
      ConfigError: the grid or a setting is invalid, the folder holds something else, or private text would be tuned under
        differential privacy.
      VaultError, CorpusError: the vault or the corpus does not open.
      FedLMError: all runs failed.
    """
    from scenarios.tuning.axes import written

    texts = written(grid) if isinstance(grid, Mapping) else list(grid)
    source = partial(key_source, key=key)
    return search(
        str(vault_or_corpus),
        texts,
        RunConfig.load(base_of(config), as_text(overrides)),
        per,
        seeds,
        out,
        source,
        _seal,
        echo,
    )


def search(
    corpus: str,
    grid: Sequence[str],
    base: RunConfig,
    per: str,
    seeds: int,
    out: PathLike | None,
    source_of: "Callable[[Path], KeySource]",
    seal: "Callable[[str, Path, KeySource, RunConfig], None]",
    echo: Callable[[str], object] | None,
) -> Tuned:
    """Does what `tune` and the command line ask for."""
    from scenarios.tuning.axes import read_axes
    from scenarios.tuning.grid import build_grid
    from scenarios.tuning.output import content
    from scenarios.tuning.search import Search

    settings = build_grid(base, read_axes(grid), per)
    folder = default_folder(corpus) if out is None else Path(out)
    outcome = Search(corpus, settings, base, folder, seeds, source_of, seal, echo).run()
    return Tuned(folder, content(outcome, settings), (outcome, settings))


def default_folder(corpus: str) -> Path:
    """Returns the folder of a search where none is named: the same for the same corpus, so that a search continues."""
    return Path("runs") / f"tune-{Path(corpus.partition('(')[0].removeprefix('hf:')).stem}"


def _seal(corpus: str, vault: Path, source: "KeySource", chosen: RunConfig) -> None:
    prepare(corpus, vault, chosen, key=source)
