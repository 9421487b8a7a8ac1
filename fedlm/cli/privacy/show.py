"""`fedlm privacy show RUN`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedlm.cli.options import Json, RunFolder
from fedlm.errors import ConfigError, FedLMError, check_number
from fedlm.system.figures_json import to_json

if TYPE_CHECKING:
    from fedlm.privacy.ledger import Ledger

_DELTAS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10)


def show(
    run: RunFolder,
    delta: Annotated[float | None, typer.Option(help="State epsilon at this delta instead of the run's.")] = None,
    events: Annotated[
        bool, typer.Option("--events", help="Print the releases as dp-accounting's events, as JSON.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Shows the privacy cost of all releases of a run together: for whom, against whom, on which assumptions."""
    if delta is not None:
        check_number("--delta", delta, gt=0, lt=1)
    ledger = _ledger(run, delta)
    if events:
        typer.echo(to_json(_events(ledger)))
        return
    about = _about(ledger)
    typer.echo(to_json(about) if as_json else _text(about))


def _ledger(run: Path, delta: float | None) -> "Ledger":
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


def _events(ledger: "Ledger") -> dict[str, Any]:
    from fedlm.privacy.events import events

    if why := ledger.why_none():
        raise ConfigError(f"The run has no guarantee to export: {why}.")
    return events(ledger.releases)


def _about(ledger: "Ledger") -> dict[str, Any]:
    about = ledger.as_dict()
    if ledger.settings.reproducible:
        return about | {"epsilon_rdp": "none", "epsilon_over_rounds": [], "epsilon_by_delta": []}
    deltas = sorted({*_DELTAS, ledger.settings.delta}, reverse=True)
    return about | {
        "epsilon_rdp": _json(ledger.epsilon(method="rdp")),
        "epsilon_over_rounds": [[n, _json(ledger.epsilon(first=n))] for n in _steps(len(ledger.releases))],
        "epsilon_by_delta": [[d, _json(ledger.epsilon(delta=d))] for d in deltas],
    }


def _steps(count: int) -> list[int]:
    """Returns ten numbers of releases, evenly spaced up to `count`."""
    return sorted({round(count * i / 10) for i in range(1, 11)} - {0})


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _text(about: dict[str, Any]) -> str:
    spent = "  ".join(f"{n}: {e:.3g}" for n, e in about["epsilon_over_rounds"] if e is not None)
    by_delta = "  ".join(f"{d:g}: {e:.4g}" for d, e in about["epsilon_by_delta"] if e is not None)
    rdp, who = about["epsilon_rdp"], about["covers"]
    lines = [
        about["statement"],
        *(f"covers: {c}" for c in about["coverage"]),
        f"neighbours: {about['neighbours']}",
        f"adversary: {about['adversary']}",
        f"accountant: {about['accountant']}",
        *(
            [f"for comparison, Renyi DP at integer orders: epsilon {rdp:.4g} for {who}"]
            if isinstance(rdp, float)
            else []
        ),
        *([f"epsilon for {who} by number of releases: {spent}"] if spent else []),
        *([f"epsilon for {who} by delta: {by_delta}"] if by_delta else []),
        *(f"assumes: {a}" for a in about["assumptions"]),
        *(f"not covered: {n}" for n in about["not_covered"]),
    ]
    return "\n".join(lines)
