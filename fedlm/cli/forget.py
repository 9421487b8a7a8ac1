"""`fedlm forget`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fedlm.cli.options import Json, KeyFile, KeyProvider, PassphraseEnv, Samples, key_source
from fedlm.cli.prepare import prepare_vault


def forget(
    client: Annotated[str, typer.Argument(help="The client's name, as the corpus has it.")],
    run: Annotated[Path, typer.Option(help="The run's folder.")],
    vault: Annotated[Path | None, typer.Option(help="The run's vault; by default the one in its folder.")] = None,
    samples: Samples = False,
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    as_json: Json = False,
) -> None:
    """Unlearns a client: the run trains on from the last checkpoint before it, without it, to the same bits as without."""
    from server import unlearning
    from server.simulation import Simulation
    from server.store.run_folder import RunFolder, working_in

    vault = vault or run / "vault.db"
    source = key_source(vault, key_file, passphrase_env, key_provider)
    echo = None if as_json else typer.echo
    RunFolder.open(run, forgetting=True)
    with working_in(run):
        plan = unlearning.plan(run, vault, source, client)
        if echo:
            echo(f"{plan.why}: {plan.rounds} rounds to train")
            if (run / "ledger.json").is_file() and plan.rounds:
                echo("the noise is drawn anew: bits differ, and the privacy ledger is charged again for these rounds")
        unlearning.delete(run, plan)
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
        echo=echo,
    )
    done = run / "summary.json"  # deleted until the run is whole again
    summary = json.loads(done.read_text()) if not plan.rounds and done.is_file() else simulation.run()
    if plan.in_vault and echo:
        echo(f"the vault still holds the client's text: fedlm vault forget {vault} CLIENT destroys it")
    if as_json:
        cost = {"first_round": plan.first, "restart": plan.restart, "rounds": plan.rounds, "in_vault": plan.in_vault}
        typer.echo(json.dumps({**cost, "weights_sha256": summary["weights_sha256"]}))
