"""`fedlm simulate`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fedlm.cli.options import (
    ConfigFile,
    Json,
    KeyFile,
    KeyProvider,
    PassphraseEnv,
    Resume,
    Samples,
    Settings,
    Test,
    key_source,
)
from fedlm.cli.prepare import prepare_vault
from fedlm.cli.printing import warn_of_failures
from fedlm.errors import ConfigError
from fedlm.system.figures_json import to_json


def simulate(
    corpus: Annotated[str, typer.Argument(help="A vault, or a corpus to prepare first.")],
    config: ConfigFile = None,
    settings: Settings = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; by default runs/TIME-CORPUS.")] = None,
    engine: Annotated[str, typer.Option(help="local, or ray (Flower's simulation runtime).")] = "local",
    workers: Annotated[int, typer.Option(help="Worker processes; 0 starts one per core.")] = 0,
    resume: Resume = False,
    init: Annotated[Path | None, typer.Option(help="A run's folder, to start from its weights.")] = None,
    samples: Samples = False,
    test: Test = "",
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    as_json: Json = False,
) -> None:
    """Trains a model by federated averaging over the clients of a vault, on this machine."""
    from fedlm.api.inputs import run_folder
    from server.simulation import Simulation

    if resume and out is None:
        raise ConfigError("To resume a run, name its folder with --out.")
    simulation = Simulation(
        corpus=corpus,
        out=out or run_folder(corpus),
        config_file=config,
        overrides=[*(settings or []), *([f"workers={workers}"] if workers else [])],
        resume=resume,
        init=init,
        samples=samples,
        test=test,
        source_of=lambda vault: key_source(vault, key_file, passphrase_env, key_provider),
        prepare=partial(prepare_vault, quiet=as_json),
        echo=None if as_json else typer.echo,
        engine=engine,
    )
    summary = simulation.run()
    warn_of_failures(summary)
    if as_json:
        typer.echo(to_json(summary))
