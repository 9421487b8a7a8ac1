"""`fedlm simulate`."""

import json
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fedlm.cli.options import ConfigFile, Json, KeyFile, KeyProvider, PassphraseEnv, Settings, key_source
from fedlm.cli.prepare import prepare_vault
from fedlm.errors import ConfigError


def simulate(
    corpus: Annotated[str, typer.Argument(help="A vault, or a corpus to prepare first.")],
    config: ConfigFile = None,
    settings: Settings = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; by default runs/TIME-CORPUS.")] = None,
    engine: Annotated[str, typer.Option(help="local, or ray (Flower's simulation runtime).")] = "local",
    workers: Annotated[int, typer.Option(help="Worker processes; 0 is one per core.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of --out.")] = False,
    init: Annotated[Path | None, typer.Option(help="Start from another run's weights.")] = None,
    samples: Annotated[
        bool, typer.Option("--samples", help="Show sample text of a private corpus in the report.")
    ] = False,
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    as_json: Json = False,
) -> None:
    """Trains a model by federated averaging over the clients of a vault, on this machine."""
    from server.simulation import Simulation

    if resume and out is None:
        raise ConfigError("--resume goes on with a run: name its folder with --out.")
    name = "vault" if Path(corpus).suffix == ".db" else corpus.partition("(")[0].removeprefix("hf:")
    simulation = Simulation(
        corpus=corpus,
        out=out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{Path(name).stem}",
        config_file=config,
        overrides=[*(settings or []), *([f"workers={workers}"] if workers else [])],
        resume=resume,
        init=init,
        samples=samples,
        source_of=lambda vault: key_source(vault, key_file, passphrase_env, key_provider),
        prepare=partial(prepare_vault, quiet=as_json),
        echo=None if as_json else typer.echo,
        engine=engine,
    )
    summary = simulation.run()
    if as_json:
        typer.echo(json.dumps(summary))
