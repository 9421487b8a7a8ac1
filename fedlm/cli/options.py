"""Options that several commands share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedlm.errors import ConfigError

if TYPE_CHECKING:
    from fedlm.vault.keys import KeySource

VaultFile = Annotated[Path, typer.Argument(help="The vault.")]
RunFolder = Annotated[Path, typer.Argument(help="The run's folder.")]
KeyFile = Annotated[Path | None, typer.Option(help="The vault's key file; by default VAULT.key beside the vault.")]
PassphraseEnv = Annotated[str | None, typer.Option(help="Environment variable that holds the vault's passphrase.")]
KeyProvider = Annotated[
    str | None, typer.Option(help="env(NAME), keyring, or package.module:factory; see docs/vault-format.md.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A configuration key, as key=value; may be repeated.")
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML file with configuration keys.")]
Samples = Annotated[
    bool, typer.Option("--samples", help="Show text of the model in the report although the corpus is private.")
]


def key_source(
    vault: Path, key_file: Path | None, passphrase_env: str | None, key_provider: str | None = None
) -> "KeySource":
    """Returns where a vault's key is: a provider, a passphrase, the named file, or VAULT.key beside the vault.

    Raises:
      ConfigError: the vault is a folder without a name, or its own key file.
    """
    from fedlm.api.inputs import key_source as from_file
    from fedlm.vault.keys import KeySource

    source = from_file(vault, key_file)
    if key_provider is not None:
        return KeySource(provider=key_provider)
    if passphrase_env is not None:
        return KeySource(passphrase_env=passphrase_env)
    return source


def check_free(file: Path, what: str) -> None:
    """Raises a ConfigError if a file cannot be written, before anything is done for it."""
    if file.exists():
        raise ConfigError(f"{file} exists already: name another file for the {what}; nothing was changed.")
    if not os.access(file.absolute().parent, os.W_OK):
        raise ConfigError(f"{file} cannot be written: name another file for the {what}; nothing was changed.")
