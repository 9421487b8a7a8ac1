"""The cohort key of a private run: a file of its folder, since sampling hides nothing from those who know the key."""

import secrets
from pathlib import Path

from fedlm.errors import FedLMError
from fedlm.system.files import write_atomic

_KEY_BYTES = 32


def secret_key(folder: Path, *, begun: bool) -> bytes:
    """Returns the run's cohort key: 32 random bytes in a file of mode 0600 that is written once, atomically.

    Raises:
      FedLMError: the file is damaged, or it is missing although the run has started: earlier cohorts would be unknown.
    """
    path = folder / "cohort.key"
    if begun and not path.is_file():
        raise FedLMError(f"The cohort key {path} is missing: restore it, or start a new run.")
    if not path.is_file():
        folder.mkdir(exist_ok=True, mode=0o700)
        write_atomic(path, secrets.token_bytes(_KEY_BYTES), private=True)
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:  # a short key could be guessed, and sampling would amplify nothing
        raise FedLMError(f"The cohort key {path} is damaged: restore it, or start a new run.")
    return key
