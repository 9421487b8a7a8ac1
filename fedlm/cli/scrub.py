"""`fedlm scrub`."""

from pathlib import Path
from typing import Annotated

import typer

from fedlm.cli.options import Json
from fedlm.errors import ConfigError
from fedlm.system.figures_json import to_json


def scrub(
    source: Annotated[Path | None, typer.Argument(metavar="IN.jsonl", help="Lines with a `text`.")] = None,
    target: Annotated[Path | None, typer.Argument(metavar="OUT.jsonl", help="The file to write.")] = None,
    profile: Annotated[
        str, typer.Option("--scrub", help='full, patterns or none, with options: full(threshold=0.5, without="date").')
    ] = "full",
    spans: Annotated[
        bool, typer.Option("--spans", help="Keep the text, and write the position and kind of each finding.")
    ] = False,
    score: Annotated[
        Path | None, typer.Option("--score", metavar="GOLD.jsonl", help="Score the findings against annotated spans.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Replaces the personal data in the `text` of each line, or scores what is found."""
    from fedlm.scrub.files import score_file, scrub_file
    from fedlm.scrub.score import table
    from fedlm.system.terminal import ClientProgress

    if score is not None:
        if source is not None or spans:
            raise ConfigError("fedlm scrub --score takes GOLD.jsonl only, no other files and no --spans.")
        result = score_file(score, profile)
        typer.echo(to_json({"kinds": result.rows(), **result.masked}) if as_json else table(result))
        return
    if source is None or target is None:
        raise ConfigError("fedlm scrub takes IN.jsonl and OUT.jsonl, or --score GOLD.jsonl.")
    with ClientProgress("scrubbing", quiet=as_json) as progress:
        counts = scrub_file(source, target, profile, spans=spans, progress=progress.update)
    if as_json:
        typer.echo(to_json(dict(counts.most_common())))
    else:
        kinds = ", ".join(f"{n} {kind}" for kind, n in counts.most_common())
        typer.echo(f"{sum(counts.values())} findings" + (f": {kinds}" if kinds else ""))
