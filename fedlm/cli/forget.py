"""`fedlm forget`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedlm.cli.options import (
    ClientName,
    Json,
    KeyFile,
    KeyProvider,
    PassphraseEnv,
    Receipt,
    Reference,
    Samples,
    key_source,
)
from fedlm.cli.prepare import prepare_vault
from fedlm.cli.printing import warn_of_failures
from fedlm.errors import counted
from fedlm.system.figures_json import to_json

if TYPE_CHECKING:
    from fedlm.vault.keys import KeySource
    from server.unlearning import Plan
    from server.unlearning_person import Unlearned


def forget(
    client: ClientName,
    run: Annotated[Path, typer.Option(help="The run's folder.")],
    vault: Annotated[Path | None, typer.Option(help="The run's vault; by default the one in its folder.")] = None,
    receipt: Receipt = None,
    reference: Reference = "",
    samples: Samples = False,
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    as_json: Json = False,
) -> None:
    """Removes a client from a run: trains again from the last checkpoint before it, to the bits of a run without it."""
    from fedlm.vault.receipts import check_reference, write_receipt
    from server.unlearning_receipt import unlearning_receipt

    check_reference(reference)
    if receipt is not None:
        from fedlm.system.files import check_new_file

        check_new_file(receipt, "receipt")
    vault = vault or run / "vault.db"
    source = key_source(vault, key_file, passphrase_env, key_provider)
    done = _delete(client, run, vault, source, quiet=as_json)
    plan = max((each.plan for each in done), key=lambda plan: plan.rounds)
    summary = _train_again(run, vault, source, plan, samples=samples, quiet=as_json)
    if plan.rounds:
        warn_of_failures(summary)
    after, first = str(summary["weights_sha256"]), done[0]
    made = unlearning_receipt(run, vault, source, first.name, first.plan, after, reference, done[1:])
    if receipt is not None:
        write_receipt(receipt, made)
    if as_json:
        cost = {"first_round": plan.first, "restart": plan.restart, "rounds": plan.rounds, "in_vault": made["in_vault"]}
        typer.echo(to_json({**cost, "weights_sha256": after, "notes": plan.notes, "receipt": made}))
        return
    if made["in_vault"]:
        typer.echo(f"the vault still holds the client's text: fedlm vault forget {vault} CLIENT destroys it")
    if receipt is None:
        typer.echo(to_json(made, indent=2))


def _delete(client: str, run: Path, vault: Path, source: "KeySource", *, quiet: bool) -> "list[Unlearned]":
    """Deletes every file of the run that depends on the client; returns what has to be trained again."""
    from server.store.run_folder import RunFolder, working_in
    from server.unlearning_person import unlearn

    def tell(plan: "Plan") -> None:
        typer.echo(f"{plan.why}: {counted(plan.rounds, 'round')} to train")
        for note in plan.notes:
            typer.echo(note)
        if (run / "ledger.json").is_file() and plan.rounds:
            typer.echo("new noise is generated: bits differ, and these rounds are charged again")

    RunFolder.open(run, forgetting=True)
    with working_in(run):
        return unlearn(run, vault, source, client, (lambda plan: None) if quiet else tell)


def _train_again(
    run: Path, vault: Path, source: "KeySource", plan: "Plan", *, samples: bool, quiet: bool
) -> dict[str, Any]:
    """Trains the rounds that were deleted; returns the content of summary.json."""
    from server.simulation import Simulation

    done = run / "summary.json"  # deleted until the run is whole again
    if not plan.rounds and done.is_file():
        return dict(json.loads(done.read_text()))
    simulation = Simulation(
        corpus=str(vault),
        out=run,
        resume=True,
        samples=samples,
        source_of=lambda _: source,
        prepare=prepare_vault,
        echo=None if quiet else typer.echo,
    )
    return simulation.run()
