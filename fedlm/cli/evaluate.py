"""`fedlm evaluate`: figures of a run's model on held-out text, on another corpus, or on bias sets."""

import json
from typing import Annotated

import typer

from fedlm.cli.options import Json, RunFolder
from fedlm.errors import ConfigError


def evaluate(
    run: RunFolder,
    corpus: Annotated[
        str, typer.Option(help="Text to evaluate on; by default, print the run's last held-out figures.")
    ] = "",
    pairs: Annotated[
        str, typer.Option(help="Sentence pairs: CrowS-Pairs .csv, Winogender .tsv, WinoBias, or `occupations`.")
    ] = "",
    associations: Annotated[str, typer.Option(help="Association tests: a .json, or `occupations`.")] = "",
    names: Annotated[str, typer.Option(help="Names to swap: a .json, or `given`.")] = "",
    as_json: Json = False,
) -> None:
    """Evaluates a run's model: on its held-out text, on another corpus (scrubbed as the run's was), or for bias."""
    from fedlm.cli import bias

    if sum(map(bool, (corpus, pairs, associations, names))) > 1:
        raise ConfigError("Give only one of --corpus, --pairs, --associations and --names.")
    for asked, measure in ((pairs, bias.pairs), (associations, bias.associations), (names, bias.names)):
        if asked:
            measure(run, asked, as_json)
            return
    from fedlm.api import evaluate as figures_of

    figures = figures_of(run, corpus or None)
    typer.echo(json.dumps(figures) if as_json else "\n".join(f"{k}: {v:.6g}" for k, v in figures.items()))
