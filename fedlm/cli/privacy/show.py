"""`fedlm privacy RUN`."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedlm.cli.options import Json, RunFolder
from fedlm.errors import ConfigError, FedLMError

if TYPE_CHECKING:
    from fedlm.privacy.ledger import Ledger


def show(
    run: RunFolder,
    delta: Annotated[float, typer.Option(help="State epsilon at this delta instead of the run's.")] = 0.0,
    as_json: Json = False,
) -> None:
    """Shows the privacy cost of all releases of a run together: for whom, against whom, on which assumptions."""
    if delta and not 0 < delta < 1:
        raise ConfigError(f"Invalid value for --delta: {delta} is not between 0 and 1.")
    about = _about(_ledger(run, delta))
    typer.echo(json.dumps(about) if as_json else _text(about))


def _ledger(run: Path, delta: float) -> "Ledger":
    from dataclasses import replace

    from fedlm.api import load_run
    from fedlm.privacy.ledger import FILE, Ledger

    settings = load_run(run).config.privacy
    if not settings.on:
        raise ConfigError(f"{run} was trained without differential privacy; it has no ledger.")
    if not (run / FILE).is_file():
        raise FedLMError(
            f"{run} was trained with differential privacy, but its {FILE} is missing: its cost is unknown."
        )
    return Ledger.read(run / FILE, replace(settings, delta=delta or settings.delta))


def _about(ledger: "Ledger") -> dict[str, Any]:
    about = ledger.as_dict() | {"epsilon_pld_continuous": _json(ledger.epsilon(method="pld"))}
    if ledger.settings.reproducible:
        return about | {"epsilon_pld_continuous": "none", "epsilon_over_rounds": []}
    return about | {"epsilon_over_rounds": [[n, _json(ledger.epsilon(first=n))] for n in _steps(len(ledger.releases))]}


def _steps(count: int) -> list[int]:
    """Returns ten numbers of releases, evenly spaced up to `count`."""
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
        *([f"for comparison, PLD of the continuous Gaussian: epsilon {pld:.4g}"] if isinstance(pld, float) else []),
        *([f"epsilon by number of releases: {spent}"] if spent else []),
        *(f"assumes: {a}" for a in about["assumptions"]),
        *(f"not covered: {n}" for n in about["not_covered"]),
    ]
    return "\n".join(lines)
