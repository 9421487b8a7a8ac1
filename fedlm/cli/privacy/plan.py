"""`fedlm privacy plan`."""

import json
import math
from typing import TYPE_CHECKING, Annotated

import typer

from fedlm.cli.options import Json
from fedlm.errors import ConfigError

if TYPE_CHECKING:
    from fedlm.privacy.accounting import Method


def plan(
    epsilon: Annotated[float, typer.Option(help="The epsilon to stay within.")],
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the run.")],
    population: Annotated[int, typer.Option(min=1, help="Number of clients, a public figure.")],
    cohort: Annotated[int, typer.Option(min=1, help="Expected number of clients in a round.")],
    delta: Annotated[float, typer.Option(help="The delta at which epsilon is stated.")] = 1e-5,
    as_json: Json = False,
) -> None:
    """Finds the noise multiplier with which a run stays within epsilon."""
    if not cohort <= population:
        raise ConfigError(f"Invalid value for --cohort: {cohort} is more than the population of {population}.")
    rate = cohort / population
    noise, tighter = _noise(epsilon, delta, rounds, rate, "rdp"), _noise(epsilon, delta, rounds, rate, "pld")
    if as_json:
        typer.echo(json.dumps({"noise_multiplier": noise, "sampling_rate": rate, "pld_continuous": tighter}))
        return
    typer.echo('mechanism = "gaussian"\nweighting = "uniform"')
    typer.echo(f"noise_multiplier = {noise:.4f}  # Renyi DP at integer orders, which holds for the discrete noise")
    typer.echo(f"sampling_rate = {rate!r}")
    typer.echo(f"cohort_size = {cohort}")
    typer.echo(f"rounds = {rounds}")
    typer.echo(f"delta = {delta:g}")
    typer.echo("# choose clip_norm yourself; the guarantee holds for any value")
    typer.echo(f"# PLD of the continuous Gaussian would allow {tighter:.4f}")
    typer.echo(f"# noise on each coordinate of the mean update: {noise / cohort:.4g} times clip_norm")
    if delta >= 1 / population:
        typer.echo("# delta is not below 1 / population: choose a smaller one")


def _noise(epsilon: float, delta: float, rounds: int, rate: float, method: "Method") -> float:
    """Returns the noise multiplier, rounded up to four digits."""
    from fedlm.privacy.accounting import plan as find

    try:
        found = find(target=epsilon, delta=delta, rounds=rounds, sampling_rate=rate, method=method)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return math.ceil(found * 1e4) / 1e4
