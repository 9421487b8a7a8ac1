"""`fedlm vault forget`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fedlm.cli.options import Json, KeyFile, KeyProvider, PassphraseEnv, VaultFile, check_free, key_source


def forget(
    vault: VaultFile,
    client: Annotated[str, typer.Argument(help="The client's name, as in the corpus.")],
    receipt: Annotated[Path | None, typer.Option(help="Write the receipt to this file; by default to stdout.")] = None,
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    as_json: Json = False,
) -> None:
    """Destroys a client's key and text, and rewraps the other clients' keys under a new vault key."""
    from fedlm.vault.operations import forget as change

    if receipt is not None:
        check_free(receipt, "receipt")
    made = change(vault, key_source(vault, key_file, passphrase_env, key_provider), client)
    if receipt is not None:
        receipt.write_text(json.dumps(made, indent=2) + "\n")
    if as_json:
        typer.echo(json.dumps(made))
        return
    is_shown = receipt is None  # then stdout is the receipt, and sentences go to stderr
    typer.echo(f"forgotten since {made['when']}; {made['what']}", err=is_shown)
    if is_shown:
        typer.echo(json.dumps(made, indent=2))
    typer.echo("backups, snapshots and models trained before are not changed", err=is_shown)
