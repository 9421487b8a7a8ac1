"""`fedlm study`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from fedlm.errors import ConfigError, check_number


def study(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE.py", help="A study, published/PAPER, or a file of your own; --list shows all."
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            help="The study's folder; by default runs/study-NAME, or runs/study-NAME-quick. Finished runs in it are kept."
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Seeds of each condition; 0 is what the study declares, or two with --quick.")
    ] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Run the small version: minutes, not an hour.")] = False,
    corpus: Annotated[str, typer.Option(help="Your own corpus instead of the built-in one.")] = "",
    group: Annotated[str, typer.Option(help="The label that defines groups of clients.")] = "",
    test: Annotated[
        str, typer.Option(help="A corpus whose documents are the held-out text, for studies of published results.")
    ] = "",
    engine: Annotated[str, typer.Option(help="local, or ray: one task per run.")] = "local",
    address: Annotated[
        str, typer.Option(help="A running Ray cluster; by default RAY_ADDRESS, or a Ray started for this study.")
    ] = "",
    list_all: Annotated[bool, typer.Option("--list", help="List the studies and their questions.")] = False,
) -> None:
    """Runs a study: many runs that answer one question; writes a report, and figures, tables and data for a paper."""
    from scenarios.runner.engines import study_engine
    from scenarios.runner.runner import load_scenario, published_names, run_study, scenario_names
    from scenarios.runner.study import Options

    if list_all:
        for each in [*scenario_names(), *published_names()]:
            typer.echo(f"{each}: {load_scenario(each).QUESTION}")
        return
    if not name:
        raise ConfigError(f"Name a study: {', '.join(scenario_names())}.")
    check_number("--seeds", seeds, ge=0)
    load_scenario(name)
    folder = out or Path("runs") / f"study-{Path(name).stem}{'-quick' if quick else ''}"
    command = shlex.join(["fedlm", *[a for a in sys.argv[1:] if a != "--debug"]])
    where = study_engine(engine, folder, address)
    options = Options(quick, corpus, group, test)
    report = run_study(name, options, seeds, folder, typer.echo, command, where)
    typer.echo(f"report: {report}")
