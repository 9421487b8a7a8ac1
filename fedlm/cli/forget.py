"""`fedlm forget`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedlm.cli.options import Json, KeyFile, KeyProvider, PassphraseEnv, Samples, key_source
from fedlm.cli.prepare import prepare_vault

if TYPE_CHECKING:
    from fedlm.vault.keys import KeySource
    from server.unlearning import Plan


def forget(
    client: Annotated[str, typer.Argument(help="The client's name, as in the corpus.")],
    run: Annotated[Path, typer.Option(help="The run's folder.")],
    vault: Annotated[Path | None, typer.Option(help="The run's vault; by default the one in its folder.")] = None,
    samples: Samples = False,
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    as_json: Json = False,
) -> None:
    """Removes a client from a run: trains again from the last checkpoint before it, to the bits of a run without it."""
    vault = vault or run / "vault.db"
    source = key_source(vault, key_file, passphrase_env, key_provider)
    plan = _delete(client, run, vault, source, quiet=as_json)
    summary = _train_again(run, vault, source, plan, samples=samples, quiet=as_json)
    if plan.in_vault and not as_json:
        typer.echo(f"the vault still holds the client's text: fedlm vault forget {vault} CLIENT destroys it")
    if as_json:
        cost = {"first_round": plan.first, "restart": plan.restart, "rounds": plan.rounds, "in_vault": plan.in_vault}
        typer.echo(json.dumps({**cost, "weights_sha256": summary["weights_sha256"]}))


def _delete(client: str, run: Path, vault: Path, source: "KeySource", *, quiet: bool) -> "Plan":
    """Deletes every file of the run that depends on the client; returns what has to be trained again."""
    from server import unlearning
    from server.store.run_folder import RunFolder, working_in

    RunFolder.open(run, forgetting=True)
    with working_in(run):
        plan = unlearning.plan(run, vault, source, client)
        if not quiet:
            typer.echo(f"{plan.why}: {plan.rounds} rounds to train")
            if (run / "ledger.json").is_file() and plan.rounds:
                typer.echo("new noise is generated: bits differ, and these rounds are charged again")
        unlearning.delete(run, plan)
    return plan


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
        config_file=None,
        overrides=(),
        resume=True,
        init=None,
        samples=samples,
        source_of=lambda _: source,
        prepare=prepare_vault,
        echo=None if quiet else typer.echo,
    )
    return simulation.run()
