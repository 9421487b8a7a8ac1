"""`fedlm tune`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedlm.cli.options import ConfigFile, Json, KeyFile, KeyProvider, PassphraseEnv, Settings, key_source
from fedlm.errors import FedLMError
from fedlm.system.figures_json import to_json

if TYPE_CHECKING:
    from fedlm.config import RunConfig
    from fedlm.vault.keys import KeySource


def tune(
    corpus: Annotated[str, typer.Argument(help="A vault, or a corpus.")],
    grid: Annotated[
        list[str] | None,
        typer.Option(
            help="A configuration key, or an option of a key's value, with its values: "
            "client_optimizer.learning_rate=0.3,1,3; may be repeated, and every combination is tried."
        ),
    ] = None,
    per: Annotated[str, typer.Option(help="Choose for each value of this key of the grid separately.")] = "",
    seeds: Annotated[int, typer.Option(help="Runs of each setting.", min=1)] = 3,
    config: ConfigFile = None,
    settings: Settings = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The search's folder; by default runs/tune-CORPUS. Finished runs in it are kept."),
    ] = None,
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    as_json: Json = False,
) -> None:
    """Searches a grid of settings on validation text, which is drawn from the training text: held-out text is not read."""
    from fedlm.api.tuning import search
    from fedlm.config import RunConfig
    from scenarios.tuning.output import lines

    found = search(
        corpus,
        grid or [],
        RunConfig.load(config, settings or []),
        per,
        seeds,
        out,
        lambda vault: key_source(vault, key_file, passphrase_env, key_provider),
        partial(_seal, quiet=as_json),
        None if as_json else typer.echo,
    )
    typer.echo(to_json(found.content) if as_json else "\n".join(lines(*found.found)))
    if not any(found.chosen.values()):
        raise FedLMError(f"Nothing was chosen: every setting has a run that diverged or failed; see {found.folder}.")
    if not as_json:
        typer.echo(f"chosen: {found.folder / 'tuned.toml'}; table: {found.folder / 'tuned.csv'}")


def _seal(corpus: str, vault: Path, source: "KeySource", config: "RunConfig", *, quiet: bool) -> None:
    """Seals a corpus for the time of the search, and shows the progress."""
    from fedlm.api import prepare
    from fedlm.system.terminal import ClientProgress

    with ClientProgress("scrubbing and sealing", quiet=quiet) as progress:
        prepare(corpus, vault, config, key=source, progress=progress.update)
