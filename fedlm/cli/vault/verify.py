"""`fedlm vault verify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedlm.cli.options import Json, KeyFile, KeyProvider, PassphraseEnv, VaultFile, key_source
from fedlm.errors import VaultError
from fedlm.system.figures_json import to_json

if TYPE_CHECKING:
    from fedlm.vault.reader import Vault


def verify(
    vault: VaultFile,
    receipt: Annotated[Path | None, typer.Option(help="Check the signature of this receipt too.")] = None,
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    as_json: Json = False,
) -> None:
    """Opens every part of every client, in memory, and lists the clients that do not open, by pseudonym and name."""
    from fedlm.vault.reader import Vault
    from fedlm.vault.receipts import check_receipt, read_receipt

    opened = Vault(vault, key_source(vault, key_file, passphrase_env, key_provider))
    if receipt is not None:
        check_receipt(read_receipt(receipt), opened.public_key)
    broken, strangers, clients = opened.verify(), opened.strangers(), len(opened.pseudonyms)
    names = _names(opened, broken)
    opened.close()
    if as_json:
        found = {"clients": clients, "broken": [f"{b:016x}" for b in broken], "names": names, "strangers": strangers}
        typer.echo(to_json(found | ({"receipt": "genuine"} if receipt else {})))
    elif not broken and not strangers:
        typer.echo(
            ("the one client opens" if clients == 1 else f"all {clients:,} clients open")
            + ("; the receipt is genuine" if receipt else "")
        )
    if broken and not as_json:
        typer.echo("\n".join(f"does not open: {b:016x} {name}".rstrip() for b, name in zip(broken, names, strict=True)))
    if broken:
        raise VaultError(
            f"{len(broken)} of {clients} clients do not open: restore {vault} from a backup, or forget them and add their text again."
        )
    if strangers:
        raise VaultError(
            f"{strangers} rows of {vault} are not in its index: another program added them, and fedlm ignores them."
        )


def _names(vault: "Vault", clients: list[int]) -> list[str]:
    """Returns the names of clients, whose text their owner may still have; "" for all if the names do not open either."""
    if not clients:
        return []
    try:
        names = {vault.pseudonym(name): name for name, _ in vault.names()}
    except VaultError:
        names = {}
    return [names.get(client, "") for client in clients]
