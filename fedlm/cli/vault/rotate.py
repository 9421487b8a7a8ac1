"""`fedlm vault rotate`."""

from fedlm.cli.options import Json, KeyFile, KeyProvider, PassphraseEnv, VaultFile, key_source
from fedlm.cli.vault.printing import print_table


def rotate(
    vault: VaultFile,
    key_file: KeyFile = None,
    passphrase_env: PassphraseEnv = None,
    key_provider: KeyProvider = None,
    as_json: Json = False,
) -> None:
    """Wraps all data keys under a new vault key and destroys the old one."""
    from fedlm.vault.operations import rotate as change

    print_table(change(vault, key_source(vault, key_file, passphrase_env, key_provider)), as_json)
