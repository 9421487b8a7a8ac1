"""`fedlm generate`: text from a run's model, or its most likely next words."""

from typing import Annotated, Any

import typer

from fedlm.cli.options import RunFolder


def generate(
    run: RunFolder,
    prompt: Annotated[str, typer.Option(help="The beginning of the text.")] = "",
    length: Annotated[int, typer.Option(help="Maximum number of symbols.", min=0)] = 400,
    temperature: Annotated[float, typer.Option(help="0 always takes the most likely symbol.")] = 0.8,
    top_k: Annotated[int, typer.Option(help="Sample from the K most likely symbols only; 0 is all.")] = 0,
    top_p: Annotated[
        float, typer.Option(help="Sample from the most likely symbols that reach this probability.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.", min=0)] = 0,
    suggest: Annotated[int, typer.Option(help="Print the N most likely next words instead.", metavar="N", min=0)] = 0,
) -> None:
    """Writes text with a run's model, or suggests the next words."""
    from fedlm.api import load_run
    from fedlm.api.inference import continuation, suggestions
    from fedlm.training.generate import check_sampling

    options: dict[str, Any] = {"length": length, "temperature": temperature, "top_k": top_k, "top_p": top_p}
    check_sampling(**options, written=lambda name: f"--{name.replace('_', '-')}")
    model = load_run(run)
    if suggest:
        for word, probability in suggestions(model, prompt, suggest):
            typer.echo(f"{word} {probability:.3f}")
        return
    for place, symbol in enumerate(continuation(model, prompt, seed, options)):
        typer.echo(symbol if place else prompt + symbol, nl=False)
    typer.echo()
