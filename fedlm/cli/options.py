"""Options that several commands share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedlm.errors import ConfigError

if TYPE_CHECKING:
    from fedlm.vault.keys import KeySource

KeyFile = Annotated[Path | None, typer.Option(help="The vault's key file; by default VAULT.key beside it.")]
PassphraseEnv = Annotated[str | None, typer.Option(help="Environment variable that holds the vault's passphrase.")]
KeyProvider = Annotated[
    str | None, typer.Option(help="env(NAME), keyring, or package.module:factory; see docs/vault-format.md.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="key=value of the configuration; may be repeated.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML file with the configuration.")]
Samples = Annotated[bool, typer.Option("--samples", help="Show sample text of a private corpus in the report.")]


def key_source(
    vault: Path, key_file: Path | None, passphrase_env: str | None, key_provider: str | None = None
) -> "KeySource":
    """Returns where a vault's key is: a provider, a passphrase, the named file, or VAULT.key beside the vault.

    Raises:
      ConfigError: the vault is a folder without a name, or its own key file.
    """
    from fedlm.vault.keys import KeySource

    if not vault.name:
        raise ConfigError(f"{vault} is a folder; name the vault's file.")
    if key_file is not None and os.path.realpath(key_file) == os.path.realpath(vault):
        raise ConfigError(f"--key-file names the vault {vault} itself; name another file.")
    if key_provider is not None:
        return KeySource(provider=key_provider)
    if passphrase_env is not None:
        return KeySource(passphrase_env=passphrase_env)
    return KeySource(file=key_file or vault.with_name(vault.name + ".key"))
