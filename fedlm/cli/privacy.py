"""`fedlm privacy RUN` and `fedlm privacy plan`."""

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fedlm.cli.options import Json
from fedlm.errors import ConfigError, FedLMError


def show(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    delta: Annotated[float, typer.Option(help="State epsilon at this delta instead of the run's.")] = 0.0,
    as_json: Json = False,
) -> None:
    """Says what a run's releases cost together, for whom, against whom, and on what assumptions."""
    from dataclasses import replace

    from fedlm.privacy.ledger import FILE, Ledger
    from server.store.run_folder import RunFolder

    settings = RunFolder.open(run).config.privacy
    if not settings.on:
        raise ConfigError(f"{run} was trained without differential privacy; it has no ledger.")
    if not (run / FILE).is_file():
        raise FedLMError(
            f"{run} was trained with differential privacy, but its {FILE} is gone: what it cost cannot be told."
        )
    if delta and not 0 < delta < 1:
        raise ConfigError("delta must lie between 0 and 1.")
    ledger = Ledger.read(run / FILE, replace(settings, delta=delta or settings.delta))
    about = ledger.as_dict() | {"epsilon_pld_continuous": _json(ledger.epsilon(method="pld"))}
    if settings.reproducible:
        about |= {"epsilon_pld_continuous": "none", "epsilon_over_rounds": []}
    else:
        about["epsilon_over_rounds"] = [[n, _json(ledger.epsilon(first=n))] for n in _steps(len(ledger.releases))]
    typer.echo(json.dumps(about) if as_json else _text(about))


def plan(
    epsilon: Annotated[float, typer.Option(help="The guarantee to reach.")],
    rounds: Annotated[int, typer.Option(min=1)],
    population: Annotated[int, typer.Option(min=1, help="Clients, a public number.")],
    cohort: Annotated[int, typer.Option(min=1, help="Clients expected in a round.")],
    delta: float = 1e-5,
    as_json: Json = False,
) -> None:
    """Finds the noise multiplier with which a run stays within epsilon."""
    from fedlm.privacy.accounting import plan as find

    if not 0 < cohort <= population:
        raise ConfigError("cohort must lie between 1 and population.")
    rate = cohort / population
    try:
        found = find(target=epsilon, delta=delta, rounds=rounds, sampling_rate=rate)
        tighter = find(target=epsilon, delta=delta, rounds=rounds, sampling_rate=rate, method="pld")
    except ValueError as error:
        raise ConfigError(str(error)) from None
    found, tighter = (math.ceil(z * 1e4) / 1e4 for z in (found, tighter))
    if as_json:
        typer.echo(json.dumps({"noise_multiplier": found, "sampling_rate": rate, "pld_continuous": tighter}))
        return
    typer.echo('mechanism = "gaussian"\nweighting = "uniform"')
    typer.echo(f"noise_multiplier = {found:.4f}  # Renyi DP at integer orders, holds for the discrete noise")
    typer.echo(f"sampling_rate = {rate!r}")
    typer.echo(f"cohort_size = {cohort}")
    typer.echo(f"rounds = {rounds}")
    typer.echo(f"delta = {delta:g}")
    typer.echo("# clip_norm is yours to choose; the guarantee holds for any")
    typer.echo(f"# PLD of the continuous Gaussian would allow {tighter:.4f}")
    typer.echo(f"# noise on each coordinate of the mean update: {found / cohort:.4g} clip norms")
    if delta >= 1 / population:
        typer.echo("# delta is not below 1 / population: choose a smaller one")


def _steps(count: int) -> list[int]:
    return sorted({round(count * i / 10) for i in range(1, 11)} - {0})


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _text(about: dict[str, Any]) -> str:
    spent = "  ".join(f"{n}: {e:.3g}" for n, e in about["epsilon_over_rounds"] if e is not None)
    pld = about["epsilon_pld_continuous"]
    lines = [
        about["statement"],
        f"neighbours: {about['neighbours']}",
        f"adversary: {about['adversary']}",
        f"accountant: {about['accountant']}",
        *([f"for comparison, PLD of the continuous Gaussian: epsilon {pld:.4g}"] if pld is not None else []),
        *([f"epsilon after so many releases: {spent}"] if spent else []),
        *(f"assumes: {a}" for a in about["assumptions"]),
        *(f"not covered: {n}" for n in about["not_covered"]),
    ]
    return "\n".join(lines)


class PrivacyGroup(TyperGroup):
    """`fedlm privacy RUN` is `fedlm privacy show RUN`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Takes a first word that is no command for a run's folder."""
        if args and args[0] not in self.commands:
            args = ["show", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(no_args_is_help=True, cls=PrivacyGroup, help="What a run's privacy cost, and planning it.")
app.command()(show)
app.command()(plan)
