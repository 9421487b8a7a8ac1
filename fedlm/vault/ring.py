"""Vault keys that are stored in the operating system's key ring, one entry a vault."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from fedlm.errors import ConfigError, VaultError
from fedlm.vault.keyfile import is_entry


class Keyring:
    """Entries in the operating system's key ring.

    Args:
      service: the name that they are listed under.

    Raises:
      ConfigError: the package `keyring` is not installed.
      VaultError: by each method, if the ring is locked or missing, or holds something else under the name.
    """

    def __init__(self, service: str) -> None:
        try:
            import keyring
            import keyring.errors
        except ImportError:
            raise ConfigError("The key ring needs one more package: pip install 'fedlm[keyring]'.") from None
        self._ring, self._service = keyring, service

    def load(self, vault_id: bytes) -> dict[str, Any] | None:
        """Returns a vault's entry, or None."""
        with self._answering():
            text = self._ring.get_password(self._service, vault_id.hex())
        try:
            entry = None if text is None else json.loads(text)
            if entry is None or is_entry(entry):
                return entry
        except ValueError:
            pass
        raise VaultError(
            f"The key ring's entry {vault_id.hex()} of {self._service} is not a key of fedlm: restore it from a copy."
        )

    def save(self, vault_id: bytes, entry: dict[str, Any]) -> None:
        """Replaces a vault's entry."""
        with self._answering():
            self._ring.set_password(self._service, vault_id.hex(), json.dumps(entry))

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except self._ring.errors.KeyringError as error:  # its text is the backend's own: it stays out of the sentence
            raise VaultError(
                f"The key ring does not answer ({type(error).__name__}): unlock it, or name another key."
            ) from None
