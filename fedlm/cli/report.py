"""`fedlm report`."""

from pathlib import Path
from typing import Annotated

import typer

from fedlm.cli.options import Samples


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run or of a study.")], samples: Samples = False
) -> None:
    """Writes the report.html of a run or of a study again, and a study's paper/: its figures, tables and data."""
    if (run / "study.json").is_file():
        from fedlm.report.study import write_study_report

        typer.echo(write_study_report(run))
        return
    from fedlm.report.run import write_report

    typer.echo(write_report(run, samples=samples))
