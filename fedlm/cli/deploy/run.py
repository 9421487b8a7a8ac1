"""`fedlm deploy run`."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fedlm.cli.deploy.options import DeploymentFolder
from fedlm.cli.options import Json, Resume, Settings
from fedlm.cli.printing import warn_of_failures
from fedlm.errors import ConfigError, counted
from fedlm.system.figures_json import to_json


def run(
    folder: DeploymentFolder,
    out: Annotated[Path | None, typer.Option(help="The run's folder; by default DIR/runs/TIME.")] = None,
    settings: Settings = None,
    resume: Resume = False,
    as_json: Json = False,
) -> None:
    """Trains over the connected nodes and shows each round."""
    from server.deploy.submit import train

    if resume and out is None:
        raise ConfigError("To resume a run, name its folder with --out.")
    out = out or folder / "runs" / time.strftime("%Y%m%d-%H%M%S")
    listener = (lambda line: None) if as_json else _show
    summary = train(folder, out, settings or [], listener, lambda s: typer.echo(s, err=True), resume=resume)
    warn_of_failures(summary)
    lines = f"weights {summary['weights_sha256']}\nreport: {out / 'report.html'}"
    typer.echo(to_json(summary) if as_json else lines)


def _show(line: dict[str, Any]) -> None:
    """Prints a round; under differential privacy, only epsilon may be shown."""
    if line.get("epsilon", False) is not False:  # None is an epsilon without bound
        from fedlm.privacy.guarantee import epsilon_note

        typer.echo(f"round {line['round']}: {epsilon_note(line)}")
        return
    figures = line.get("eval", {})
    from fedlm.types import Evaluated

    part = Evaluated(line.get("part", Evaluated.HELD_OUT)).words
    evaluated = f", {part} accuracy {figures['accuracy']:.4f}" if figures else ""
    failed = f", {counted(line['failed'], 'client')} failed" if line["failed"] else ""
    typer.echo(f"round {line['round']}: {line['seconds']:.1f} s{failed}{evaluated}")
