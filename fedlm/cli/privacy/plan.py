"""`fedlm privacy plan`."""

import math
from typing import Annotated

import typer

from fedlm.cli.options import Json
from fedlm.errors import ConfigError
from fedlm.system.figures_json import to_json


def plan(
    epsilon: Annotated[float, typer.Option(help="The epsilon to stay within, above 0.")],
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the run.")],
    population: Annotated[int, typer.Option(min=1, help="Number of clients, a public figure.")],
    cohort: Annotated[int, typer.Option(min=1, help="Expected number of clients in a round.")],
    delta: Annotated[float, typer.Option(help="The delta at which epsilon is stated, between 0 and 1.")] = 1e-5,
    as_json: Json = False,
) -> None:
    """Finds the noise multiplier with which a run stays within epsilon."""
    if not 0 < epsilon < math.inf:  # also false for NaN
        raise ConfigError(f"Invalid value for --epsilon: {epsilon:g} is not a finite number above 0.")
    if not 0 < delta < 1:
        raise ConfigError(f"Invalid value for --delta: {delta:g} is not between 0 and 1.")
    if not cohort <= population:
        raise ConfigError(f"Invalid value for --cohort: {cohort} is more than the population of {population}.")
    rate = cohort / population
    noise, cost = _noise(epsilon, delta, rounds, rate)
    if as_json:
        typer.echo(to_json({"noise_multiplier": noise, "sampling_rate": rate, "epsilon": cost}))
        return
    typer.echo('mechanism = "gaussian"\nweighting = "uniform"')
    typer.echo(f"noise_multiplier = {noise:.4f}  # epsilon {cost:.4g} after all rounds")
    typer.echo(f"sampling_rate = {rate!r}")
    typer.echo(f"cohort_size = {cohort}")
    typer.echo(f"rounds = {rounds}")
    typer.echo(f"delta = {delta:g}")
    typer.echo("max_client_tokens = 8000")
    typer.echo("# choose clip_norm yourself; the guarantee holds for any value")
    typer.echo(f"# noise on each coordinate of the mean update: {noise / cohort:.4g} times clip_norm")
    if delta >= 1 / population:
        typer.echo("# delta is not below 1 / population: choose a smaller one")


def _noise(epsilon: float, delta: float, rounds: int, rate: float) -> tuple[float, float]:
    """Returns the noise multiplier, rounded up to four digits, and the epsilon of all rounds with it."""
    from fedlm.privacy.planning import plan as find
    from fedlm.privacy.planning import planned_epsilon

    try:
        noise = math.ceil(find(target=epsilon, delta=delta, rounds=rounds, sampling_rate=rate) * 1e4) / 1e4
    except ValueError as error:
        raise ConfigError(f"Invalid value for --epsilon: {error}") from None
    return noise, planned_epsilon(noise, delta=delta, rounds=rounds, sampling_rate=rate)
