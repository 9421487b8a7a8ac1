"""`fedlm deploy run`."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fedlm.cli.deploy.options import DeploymentFolder
from fedlm.cli.options import Json, Settings
from fedlm.errors import ConfigError


def run(
    folder: DeploymentFolder,
    out: Annotated[Path | None, typer.Option(help="The run's folder; by default DIR/runs/TIME.")] = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint in --out.")] = False,
    as_json: Json = False,
) -> None:
    """Trains over the connected nodes and shows each round."""
    from server.deploy.submit import train

    if resume and out is None:
        raise ConfigError("To resume a run, name its folder with --out.")
    out = out or folder / "runs" / time.strftime("%Y%m%d-%H%M%S")
    listener = (lambda line: None) if as_json else _show
    summary = train(folder, out, settings or [], listener, lambda s: typer.echo(s, err=True), resume=resume)
    lines = f"weights {summary['weights_sha256']}\nreport: {out / 'report.html'}"
    typer.echo(json.dumps(summary) if as_json else lines)


def _show(line: dict[str, Any]) -> None:
    """Shows a round; under differential privacy nothing but epsilon may be shown."""
    if line.get("epsilon", False) is not False:  # None is an epsilon without bound
        typer.echo(f"round {line['round']}: epsilon {'unbounded' if line['epsilon'] is None else line['epsilon']}")
        return
    figures = line.get("eval", {})
    held_out = f", held-out accuracy {figures['accuracy']:.4f}" if figures else ""
    failed = f", {line['failed']} clients failed" if line["failed"] else ""
    typer.echo(f"round {line['round']}: {line['seconds']:.1f} s{failed}{held_out}")
