"""Options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fedlm.vault.keys import KeySource

VaultFile = Annotated[Path, typer.Argument(help="The vault.")]
RunFolder = Annotated[Path, typer.Argument(help="The run's folder.")]
KeyFile = Annotated[Path | None, typer.Option(help="The vault's key file; by default VAULT.key beside the vault.")]
PassphraseEnv = Annotated[str | None, typer.Option(help="Environment variable that holds the vault's passphrase.")]
KeyProvider = Annotated[
    str | None, typer.Option(help="env(NAME), keyring, or package.module:factory; see docs/vault-format.md.")
]
ClientName = Annotated[str, typer.Argument(help="The client's name, as in the corpus.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint in --out.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A configuration key, as key=value; may be repeated.")
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML file with configuration keys.")]
Receipt = Annotated[Path | None, typer.Option(help="Write the receipt to this file; by default to stdout.")]
Reference = Annotated[
    str, typer.Option(help="Words of who asked for it, such as a case number; the signed receipt repeats them.")
]
Test = Annotated[
    str, typer.Option(help="A corpus whose documents are the held-out text of the users of the same names.")
]
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
