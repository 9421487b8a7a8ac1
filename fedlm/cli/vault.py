"""`fedlm vault show|verify|rotate|forget|add`."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedlm.cli.options import Json, KeyFile, KeyProvider, PassphraseEnv, key_source
from fedlm.errors import ConfigError

if TYPE_CHECKING:
    from fedlm.vault.reader import Vault

Receipt = Annotated[Path | None, typer.Option(help="A receipt's file: verify checks it, forget writes it.")]


def _print(content: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(content))
        return
    for key, value in content.items():
        told = ", ".join(f"{n} {kind}" for kind, n in value.items()) or "none" if isinstance(value, dict) else value
        typer.echo(f"{key}: {told:.4g}" if isinstance(told, float) else f"{key}: {told}")


def show(
    vault: Path,
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    heterogeneity: Annotated[
        bool,
        typer.Option("--heterogeneity", help="Open all texts, in memory, and say how much clients differ in them."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Says what a vault holds: counts, never text."""
    from fedlm.measure.heterogeneity import describe_sizes
    from fedlm.vault.reader import Vault

    opened = Vault(vault, key_source(vault, key_file, passphrase_env, key_provider))
    about = {
        **opened.about,
        "vault_id": opened.vault_id.hex(),
        "clients": len(opened.pseudonyms),
        "forgotten": opened.forgotten(),
        "train_tokens": int(opened.index["train"].sum()),
        "held_out_tokens": int(opened.index["held_out"].sum()),
        **{k: v for k, v in describe_sizes(opened.index["train"]).items() if k.startswith("size_")},
        **(_contents(opened) if heterogeneity else {}),
        "epoch": opened.epoch,
        "vault_key": opened.key_fingerprint,
        "public_key": opened.public_key.hex(),
    }
    opened.close()
    _print(about, as_json)


class _Texts:
    """A vault's training documents, client by client, as often as they are asked for."""

    def __init__(self, vault: "Vault") -> None:
        self._vault = vault

    def __iter__(self) -> Iterator[list[str]]:
        return map(self._vault.documents, map(int, self._vault.pseudonyms))


def _contents(vault: "Vault") -> dict[str, float]:
    """Returns how much clients differ in content."""
    from fedlm.config import RunConfig
    from fedlm.measure.heterogeneity import describe
    from fedlm.preparation.split import counting_vocabulary

    config = RunConfig.checked({k: vault.about[k] for k in ("vocabulary",) if k in vault.about})
    found = describe(_Texts(vault), vault.index["train"], counting_vocabulary(config))
    return {k: found[k] for k in ("ngram_distance", "unknown_share")}


def verify(
    vault: Path,
    receipt: Receipt = None,
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    as_json: Json = False,
) -> None:
    """Opens every part of every client, in memory, and says what does not open; checks a receipt's signature."""
    from fedlm.errors import VaultError
    from fedlm.vault.reader import Vault

    opened = Vault(vault, key_source(vault, key_file, passphrase_env, key_provider))
    if receipt is not None:
        _check(receipt, opened.public_key)
    broken, strangers = opened.verify(), opened.strangers()
    if as_json:
        found = {"clients": len(opened.pseudonyms), "broken": [f"{b:016x}" for b in broken], "strangers": strangers}
        typer.echo(json.dumps(found | ({"receipt": "genuine"} if receipt else {})))
    elif not broken and not strangers:
        typer.echo(f"all {len(opened.pseudonyms)} clients open" + ("; the receipt is genuine" if receipt else ""))
    opened.close()
    if broken:
        raise VaultError(f"{len(broken)} of {len(opened.pseudonyms)} clients do not open; restore {vault} from a copy.")
    if strangers:
        raise VaultError(
            f"{strangers} rows of {vault} are not in its index: someone put them there. They are not read."
        )


def _check_free(receipt: Path) -> None:
    """Raises a ConfigError if a receipt cannot be written, before anything is destroyed."""
    if receipt.exists():
        raise ConfigError(f"{receipt} is there already: name another place for the receipt; nothing was forgotten.")
    if not os.access(receipt.absolute().parent, os.W_OK):
        raise ConfigError(f"{receipt} cannot be written: name another place for the receipt; nothing was forgotten.")


def _check(receipt: Path, public_key: bytes) -> None:
    from fedlm.errors import VaultError
    from fedlm.vault.operations import check_receipt

    try:
        content = json.loads(receipt.read_text())
    except (OSError, ValueError):
        raise VaultError(f"{receipt} is not a receipt: name the JSON file that vault forget wrote.") from None
    check_receipt(content, public_key)


def rotate(
    vault: Path,
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    as_json: Json = False,
) -> None:
    """Wraps all data keys under a new vault key and destroys the old one."""
    from fedlm.vault.operations import rotate as change

    _print(change(vault, key_source(vault, key_file, passphrase_env, key_provider)), as_json)


def forget(
    vault: Path,
    client: str,
    receipt: Receipt = None,
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    as_json: Json = False,
) -> None:
    """Destroys a client's key and text, and rewraps the rest under a new vault key."""
    from fedlm.vault.operations import forget as change

    if receipt is not None:
        _check_free(receipt)
    made = change(vault, key_source(vault, key_file, passphrase_env, key_provider), client)
    if receipt is not None:
        receipt.write_text(json.dumps(made, indent=2) + "\n")
    if as_json:
        typer.echo(json.dumps(made))
        return
    alone = receipt is None  # then the receipt itself is what goes to stdout
    typer.echo(f"forgotten since {made['when']}; {made['what']}", err=alone)
    if alone:
        typer.echo(json.dumps(made, indent=2))
    typer.echo("backups, snapshots and models trained before are not touched", err=alone)


def add(
    vault: Path,
    corpus: str,
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    as_json: Json = False,
) -> None:
    """Scrubs a corpus and adds it: new clients, and new documents of old ones."""
    from fedlm.preparation.add import add as change
    from fedlm.system.terminal import ClientProgress

    with ClientProgress("scrubbing and sealing", quiet=as_json) as progress:
        done = change(corpus, vault, key_source(vault, key_file, passphrase_env, key_provider), progress.update)
    counts = {"clients": done.clients, "left_out": done.left_out, "documents": done.documents}
    _print({**counts, "characters": done.characters, "findings": dict(done.findings)}, as_json)
