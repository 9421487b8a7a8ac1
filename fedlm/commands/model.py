"""`fedlm generate`, `fedlm evaluate`, `fedlm report`: what a finished run's model says and can do."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fedlm.commands.options import Json, Samples
from fedlm.commands.trained import load_model
from fedlm.errors import ConfigError


def generate(
    run: Path,
    prompt: str = "",
    length: Annotated[int, typer.Option(help="Symbols at most.", min=0)] = 400,
    temperature: float = 0.8,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    suggest: Annotated[int, typer.Option(help="Print so many likely next words instead of text.", min=0)] = 0,
) -> None:
    """Writes text from a run's model, or suggests what comes next."""
    import numpy as np

    from fedlm.generate import generate as symbols
    from fedlm.generate import suggest as likely
    from fedlm.scrub.kinds import readable

    trainer = load_model(run)
    if trainer.is_masked:
        raise ConfigError(f"The model of {run} fills hidden words; it cannot go on with a text.")
    if suggest:
        for word, probability in likely(trainer.next_logits, trainer.vocab, prompt, suggest):
            typer.echo(f"{readable(word)} {probability:.3f}")
        return
    rng = np.random.default_rng([seed, 3])
    options: dict[str, Any] = {"length": length, "temperature": temperature, "top_k": top_k, "top_p": top_p}
    try:
        for place, symbol in enumerate(symbols(trainer.next_logits, trainer.vocab, prompt, rng, **options)):
            typer.echo(("" if place else prompt) + readable(symbol), nl=False)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    typer.echo()


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
        from fedlm.commands import bias

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
        from server.run_folder import RunFolder

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


def report(run: Path, samples: Samples = False) -> None:
    """Writes the report.html of a run or of a study again."""
    if (run / "study.json").is_file():
        from fedlm.report.study import write_study_report

        typer.echo(write_study_report(run))
        return
    from fedlm.report.run import write_report

    typer.echo(write_report(run, samples=samples))
