"""The key file of a vault that is being made."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedlm.errors import ConfigError, FedLMError
from fedlm.system.files import check_new_file
from fedlm.vault.keys import KeySource, make_key_file
from fedlm.vault.tables import is_vault


def check_key_file(source: KeySource) -> None:
    """Checks that a missing key file can be made.

    Raises:
      ConfigError: its folder is missing or not writable.
    """
    key = None if source.file is None else Path(os.path.realpath(source.file))
    try:
        if key is not None and not key.exists():
            check_new_file(key, "key")
    except ConfigError:
        if key is None or not key.is_file():  # otherwise another process has just made it, and both vaults use it
            raise


@contextmanager
def key_file_of(source: KeySource, vault: Path, vault_id: bytes) -> Iterator[bool]:
    """Makes the key file if it is missing. If the vault fails, withdraws its key, and removes a file that was made for it.

    The file stays if another vault has stored its key in it meanwhile.
    """
    made = False
    try:
        made = source.file is not None and make_key_file(source.file)
        yield made
    except BaseException:
        if not is_vault(
            vault, vault_id
        ):  # an interrupt after the final rename leaves a whole vault, which needs its key
            with suppress(FedLMError, OSError):  # the first failure is the one to report
                source.withdraw(vault_id, unlink=made)
        raise
