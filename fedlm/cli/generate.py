"""`fedlm generate`: text from a finished run's model, or the likely next words."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fedlm.cli.trained import load_model
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

    from fedlm.scrub.kinds import readable
    from fedlm.training.generate import generate as symbols
    from fedlm.training.generate import suggest as likely

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
