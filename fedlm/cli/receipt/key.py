"""`fedlm receipt key`."""

from pathlib import Path
from typing import Annotated

import typer

from fedlm.cli.options import KeyFile, KeyProvider, PassphraseEnv, VaultFile, key_source


def key(
    vault: VaultFile,
    out: Annotated[Path | None, typer.Option(help="Write the key to this file; by default to stdout.")] = None,
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
) -> None:
    """Exports the public key that checks a vault's receipts; hand it out before the first receipt."""
    from fedlm.vault.reader import Vault

    if out is not None:
        from fedlm.system.files import check_new_file

        check_new_file(out, "public key")
    opened = Vault(vault, key_source(vault, key_file, passphrase_env, key_provider))
    public_key = opened.public_key.hex()
    opened.close()
    if out is None:
        typer.echo(public_key)
    else:
        out.write_text(public_key + "\n")
