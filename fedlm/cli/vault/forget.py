"""`fedlm vault forget`."""

import typer

from fedlm.cli.options import (
    ClientName,
    Json,
    KeyFile,
    KeyProvider,
    PassphraseEnv,
    Receipt,
    Reference,
    VaultFile,
    key_source,
)
from fedlm.system.figures_json import to_json


def forget(
    vault: VaultFile,
    client: ClientName,
    receipt: Receipt = None,
    reference: Reference = "",
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    as_json: Json = False,
) -> None:
    """Destroys a client's key and text, and rewraps the other clients' keys under a new vault key."""
    from fedlm.vault.operations import forget as change
    from fedlm.vault.receipts import write_receipt

    if receipt is not None:
        from fedlm.system.files import check_new_file

        check_new_file(receipt, "receipt")
    made = change(vault, key_source(vault, key_file, passphrase_env, key_provider), client, reference)
    if receipt is not None:
        write_receipt(receipt, made)
    if as_json:
        typer.echo(to_json(made))
        return
    is_shown = receipt is None  # then stdout is the receipt, and sentences go to stderr
    typer.echo(f"forgotten since {made['when']}; {made['what']}", err=is_shown)
    if is_shown:
        typer.echo(to_json(made, indent=2))
    typer.echo("backups, snapshots and models trained before are not changed", err=is_shown)
