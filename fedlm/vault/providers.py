"""Key providers besides the key file: a passphrase, an environment variable, and the OS keyring."""

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from fedlm.errors import ConfigError, VaultError
from fedlm.vault.format import DOES_NOT_OPEN, KEY_BYTES
from fedlm.vault.keyfile import is_entry

_LOG2_N, _R, _P = 17, 8, 1  # scrypt (RFC 7914): 2**17 * 8 * 128 bytes = 128 MiB a derivation


def new_kdf() -> bytes:
    """Returns a new derivation entry, 19 bytes: the scrypt cost (log2 N, r, p) and a random salt of 16 bytes."""
    return bytes([_LOG2_N, _R, _P]) + secrets.token_bytes(16)


class Passphrase:
    """Derives the key from a passphrase by scrypt; remembers nothing.

    Args:
      variable: the environment variable that holds it.
    """

    def __init__(self, variable: str) -> None:
        self._variable = variable

    def create(self, vault_id: bytes, kdf: bytes) -> bytes:
        """Returns the derived key."""
        passphrase = os.environ.get(self._variable, "")
        if not passphrase:
            raise ConfigError(f"The environment variable {self._variable} is empty: put the vault's passphrase there.")
        if len(kdf) != 19 or not (15 <= kdf[0] <= 20 and kdf[1] == 8 and 1 <= kdf[2] <= 4):
            raise VaultError(DOES_NOT_OPEN)  # an altered cost must neither weaken the key nor exhaust the memory
        return Scrypt(kdf[3:], KEY_BYTES, 2 ** kdf[0], kdf[1], kdf[2]).derive(
            passphrase.encode("utf-8", "surrogateescape")
        )

    def keys(self, vault_id: bytes, kdf: bytes) -> list[bytes]:
        """Returns the derived key."""
        return [self.create(vault_id, kdf)]

    def propose(self, vault_id: bytes, kdf: bytes) -> bytes:
        """Returns the key of the same passphrase under the new salt."""
        return self.create(vault_id, kdf)

    def settle(self, vault_id: bytes, key: bytes, epoch: int) -> None:
        """Does nothing: the salt is in the vault."""

    def epoch(self, vault_id: bytes) -> int | None:
        """Returns None."""
        return None


class EnvironmentKey:
    """Takes the key from an environment variable, and the new key of a rotation from NAME_NEXT; remembers nothing.

    Args:
      variable: the variable; 64 hex digits.
    """

    def __init__(self, variable: str) -> None:
        self._variable = variable

    def create(self, vault_id: bytes, kdf: bytes) -> bytes:
        """Returns the variable's key."""
        return self._read(self._variable)

    def keys(self, vault_id: bytes, kdf: bytes) -> list[bytes]:
        """Returns the variable's key, and the next one if it is set."""
        following = f"{self._variable}_NEXT"
        return [self._read(self._variable), *([self._read(following)] if os.environ.get(following) else [])]

    def propose(self, vault_id: bytes, kdf: bytes) -> bytes:
        """Returns the key of NAME_NEXT."""
        new = self._read(f"{self._variable}_NEXT")
        if new == self._read(self._variable):
            raise ConfigError(f"{self._variable}_NEXT holds the old key: put a new one there.")
        return new

    def settle(self, vault_id: bytes, key: bytes, epoch: int) -> None:
        """Does nothing: whoever set the variables renames NAME_NEXT to NAME."""

    def epoch(self, vault_id: bytes) -> int | None:
        """Returns None."""
        return None

    def _read(self, variable: str) -> bytes:
        try:
            key = bytes.fromhex(os.environ.get(variable, ""))
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise ConfigError(f"The environment variable {variable} does not hold a key: put 64 hex digits there.")
        return key


class Keyring:
    """Entries in the OS keyring.

    Args:
      service: the name under which they are listed.

    Raises:
      ConfigError: the package `keyring` is not installed.
      VaultError: by each method, if the keyring is locked or missing, or holds something else under
        the name.
    """

    def __init__(self, service: str) -> None:
        try:
            import keyring
            import keyring.errors
        except ImportError:
            raise ConfigError("The OS keyring needs one more package: pip install 'fedlm[keyring]'.") from None
        self._keyring, self._service = keyring, service

    def load(self, vault_id: bytes) -> dict[str, Any] | None:
        """Returns a vault's entry, or None."""
        with self._answering():
            text = self._keyring.get_password(self._service, vault_id.hex())
        try:
            entry = None if text is None else json.loads(text)
            if entry is None or is_entry(entry):
                return entry
        except ValueError:
            pass
        raise VaultError(
            f"The keyring's entry {vault_id.hex()} of {self._service} is not a key of fedlm: restore it from a copy."
        )

    def save(self, vault_id: bytes, entry: dict[str, Any]) -> None:
        """Replaces a vault's entry."""
        with self._answering():
            self._keyring.set_password(self._service, vault_id.hex(), json.dumps(entry))

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except self._keyring.errors.KeyringError as error:  # the backend's text is not ours to show
            raise VaultError(
                f"The OS keyring does not respond ({type(error).__name__}): unlock it, or name another key."
            ) from None
