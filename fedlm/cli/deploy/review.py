"""`fedlm deploy review`: what runs ask of an owner's node."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedlm.cli.options import Json
from fedlm.system.figures_json import to_json

if TYPE_CHECKING:
    from clients.contract.manifest import Manifest
    from clients.policy import Policy

_SHOWN = (
    *(
        "model",
        "vocabulary",
        "rounds",
        "cohort_size",
        "batch_size",
        "seq_len",
        "local_epochs",
        "local_steps",
        "client_optimizer",
    ),
    *(
        "client_schedule",
        "max_client_tokens",
        "weighting",
        "algorithm",
        "strategy",
        "aggregation",
        "drift",
        "eval_every",
        "validation_fraction",
    ),
    *("mechanism", "clip_norm", "noise_multiplier", "sampling_rate", "delta", "seed"),
)


def review(
    node: Annotated[Path, typer.Argument(help="The node's folder.")],
    everything: Annotated[bool, typer.Option("--all", help="Also show runs that were accepted.")] = False,
    as_json: Json = False,
) -> None:
    """Shows the runs that wait for the owner, what they ask for, and what in them is not of the usual kind."""
    from clients.contract.approvals import Approvals
    from clients.deploy.folder import NodeFolder

    folder = NodeFolder(node)
    policy, approvals = folder.policy(), Approvals(folder.path / "runs")
    runs = [
        _about(m, policy, approvals.accepted_by(m.sha256), refused=approvals.is_refused(m.sha256))
        for m in approvals.all()
    ]
    shown = [run for run in runs if everything or not (run["accepted_by"] or run["refused"])]
    if as_json:
        typer.echo(to_json(shown))
        return
    if not shown:
        typer.echo(
            "no run waits for you" + ("" if everything or not runs else "; --all shows those that were accepted")
        )
    for run in shown:
        _print(node, run)


def _about(manifest: "Manifest", policy: "Policy", accepted_by: str, *, refused: bool) -> dict[str, Any]:
    return {
        "manifest_sha256": manifest.sha256,
        "accepted_by": accepted_by,
        "refused": refused,
        "questions": policy.questions(manifest.config, manifest.vocabulary_sha256),
        **manifest.__dict__,
    }


def _print(node: Path, run: dict[str, Any]) -> None:
    from fedlm.config import RunConfig

    state = f"accepted by the {run['accepted_by']}" if run["accepted_by"] else "waits for you"
    state = "refused" if run["refused"] else state
    typer.echo(f"run {run['manifest_sha256']}: {state}")
    for key in _SHOWN:
        typer.echo(_printable(f"  {key} = {run['configuration'].get(key, RunConfig.model_fields[key].default)}"))
    once = ", and held-out text once, at the end" if run["configuration"].get("validation_fraction") else ""
    typer.echo(f"  evaluation reads {'validation' if once else 'held-out'} text{once}")
    if run["vocabulary_sha256"]:
        typer.echo(f"  vocabulary SHA-256 = {run['vocabulary_sha256']}")
    for question in run["questions"]:
        typer.echo(_printable(f"  ! {question}"))
    if not (run["accepted_by"] or run["refused"]):
        typer.echo(f"  to allow it: fedlm deploy accept {node} {run['manifest_sha256'][:12]}")


def _printable(line: str) -> str:
    """Returns a line whose control characters are written out: the coordinator wrote parts of it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
