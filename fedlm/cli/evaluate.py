"""`fedlm evaluate`: figures of a run's model on held-out text, on another corpus, or on bias sets."""

from typing import Annotated

import typer

from fedlm.cli.options import Json, RunFolder
from fedlm.errors import ConfigError
from fedlm.system.figures_json import to_json


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
    words: Annotated[str, typer.Option(help="Word sets for word vectors (WEAT): a .json, or `occupations`.")] = "",
    as_json: Json = False,
) -> None:
    """Evaluates a run's model: on its held-out text, on another corpus (scrubbed as the run's was), or for bias."""
    from fedlm.cli import bias, bias_words

    if sum(map(bool, (corpus, pairs, associations, names, words))) > 1:
        raise ConfigError("Give only one of --corpus, --pairs, --associations, --names and --words.")
    measures = (
        (pairs, bias.pairs),
        (associations, bias.associations),
        (names, bias.names),
        (words, bias_words.words),
    )
    for asked, measure in measures:
        if asked:
            measure(run, asked, as_json)
            return
    from fedlm.api import evaluate as figures_of

    figures = figures_of(run, corpus or None)
    if not figures:
        raise ConfigError(
            f"The run {run} has no held-out figures: it has not evaluated yet, with validation_fraction it is not at its end yet, "
            "or its vault holds no text out (holdout_fraction=0). Name a text with --corpus."
        )
    typer.echo(to_json(figures) if as_json else "\n".join(f"{k}: {v:.6g}" for k, v in figures.items()))
