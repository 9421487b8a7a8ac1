"""`fedlm evaluate`: figures of a finished run's model on held-out text, another corpus, or bias sets."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fedlm.cli.options import Json
from fedlm.cli.trained import load_model
from fedlm.errors import ConfigError


def evaluate(
    run: Path,
    corpus: Annotated[str, typer.Option(help="Text to evaluate on; by default the run's last held-out figures.")] = "",
    pairs: Annotated[
        str, typer.Option(help="Sentence pairs: CrowS-Pairs .csv, Winogender .tsv, WinoBias, or `occupations`.")
    ] = "",
    associations: Annotated[str, typer.Option(help="Tests on continuations: a .json, or `occupations`.")] = "",
    names: Annotated[str, typer.Option(help="Names to swap: a .json, or `given`.")] = "",
    as_json: Json = False,
) -> None:
    """Figures of a run's model: on its held-out text, on another corpus (scrubbed as the run's was), or its bias."""
    if asked := [words for words in (corpus, pairs, associations, names) if words]:
        if len(asked) > 1:
            raise ConfigError("Ask for one at a time: --corpus, --pairs, --associations or --names.")
        from fedlm.cli import bias

        for words, measure in ((pairs, bias.pairs), (associations, bias.associations), (names, bias.names)):
            if words:
                measure(run, words, as_json)
                return
    from fedlm.measure.text import summary

    if corpus:
        from fedlm.data.corpus import open_corpus
        from fedlm.scrub.engine import Scrubber
        from fedlm.types import TextMetrics

        trainer = load_model(run)
        scrubber = Scrubber(trainer.config.scrub)
        texts = ([scrubber.scrub(document.text).text] for document in open_corpus(corpus))
        figures = summary(sum(trainer.evaluate_each(None, texts), TextMetrics()))
    else:
        from server.store.run_folder import RunFolder

        folder = RunFolder.open(run)
        if folder.config.privacy.on:
            raise ConfigError(
                f"{run} was trained with differential privacy, and its held-out figures are not covered by its ledger; they "
                f"stand in {folder.figures}, for the run's owner."
            )
        done = folder.path / "summary.json"
        lines = [
            {"round": m["round"], **m["eval"]} for m in folder.metrics() if "eval" in m
        ]  # not finished: of which round
        figures = json.loads(done.read_text())["final"] if done.is_file() else lines[-1] if lines else {}
    typer.echo(json.dumps(figures) if as_json else "\n".join(f"{k}: {v:.6g}" for k, v in figures.items()))
