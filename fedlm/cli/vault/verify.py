"""`fedlm vault verify`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fedlm.cli.options import Json, KeyFile, KeyProvider, PassphraseEnv, VaultFile, key_source
from fedlm.errors import VaultError


def verify(
    vault: VaultFile,
    receipt: Annotated[Path | None, typer.Option(help="Check the signature of this receipt too.")] = None,
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    as_json: Json = False,
) -> None:
    """Opens every part of every client, in memory, and reports what does not open."""
    from fedlm.vault.reader import Vault

    opened = Vault(vault, key_source(vault, key_file, passphrase_env, key_provider))
    if receipt is not None:
        _check(receipt, opened.public_key)
    broken, strangers, clients = opened.verify(), opened.strangers(), len(opened.pseudonyms)
    opened.close()
    if as_json:
        found = {"clients": clients, "broken": [f"{b:016x}" for b in broken], "strangers": strangers}
        typer.echo(json.dumps(found | ({"receipt": "genuine"} if receipt else {})))
    elif not broken and not strangers:
        typer.echo(f"all {clients} clients open" + ("; the receipt is genuine" if receipt else ""))
    if broken:
        raise VaultError(f"{len(broken)} of {clients} clients do not open: restore {vault} from a backup.")
    if strangers:
        raise VaultError(
            f"{strangers} rows of {vault} are not in its index: another program added them, and fedlm ignores them."
        )


def _check(receipt: Path, public_key: bytes) -> None:
    from fedlm.vault.operations import check_receipt

    try:
        content = json.loads(receipt.read_text())
    except (OSError, ValueError):
        raise VaultError(f"{receipt} is not a receipt: name the JSON file that vault forget wrote.") from None
    check_receipt(content, public_key)
