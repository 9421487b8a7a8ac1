"""A key provider as a user would write one: `--key-provider tests.support.small_kms:service`.

It stands for a KMS: a master key that stays with the service wraps each vault key, and a file holds what is wrapped.
"""

import json
import os
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

_MASTER = b"\7" * 32


class Kms:
    """Wrapped keys of vaults in a file.

    Args:
      file: where they are; made when it is needed.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def create(self, vault_id: bytes, kdf: bytes) -> bytes:
        """Keeps a random key."""
        key = os.urandom(32)
        self._save(vault_id, [key], 0)
        return key

    def keys(self, vault_id: bytes, kdf: bytes) -> list[bytes]:
        """Returns the current key, and the next one while a change is under way."""
        return [aes_key_unwrap(_MASTER, bytes.fromhex(k)) for k in self._entry(vault_id)["keys"]]

    def propose(self, vault_id: bytes, kdf: bytes) -> bytes:
        """Keeps a random key beside the current one."""
        key = os.urandom(32)
        self._save(vault_id, [*self.keys(vault_id, kdf)[:1], key], self.epoch(vault_id))
        return key

    def settle(self, vault_id: bytes, key: bytes, epoch: int) -> None:
        """Keeps this key only."""
        self._save(vault_id, [key], epoch)

    def epoch(self, vault_id: bytes) -> int | None:
        """Returns the epoch last settled."""
        epoch: int | None = self._entry(vault_id)["epoch"]
        return epoch

    def _load(self) -> dict[str, Any]:
        return dict(json.loads(self._file.read_text())) if self._file.exists() else {}

    def _entry(self, vault_id: bytes) -> dict[str, Any]:
        return dict(self._load().get(vault_id.hex(), {"keys": [], "epoch": None}))

    def _save(self, vault_id: bytes, keys: list[bytes], epoch: int | None) -> None:
        entry = {"keys": [aes_key_wrap(_MASTER, k).hex() for k in keys], "epoch": epoch}
        beside = self._file.with_name(f"{self._file.name}.new")
        beside.write_text(json.dumps({**self._load(), vault_id.hex(): entry}))
        beside.replace(self._file)


def service() -> Kms:
    """Returns the provider; what it needs to know comes from the environment."""
    return Kms(Path(os.environ["KMS_FILE"]))


NOT_CALLABLE = 3


def half() -> object:
    """Returns something that is no provider."""
    return object()


class _ShortKeys(Kms):
    def create(self, vault_id: bytes, kdf: bytes) -> bytes:
        return b"short"


def short() -> Kms:
    """Returns a provider whose keys are too short."""
    return _ShortKeys(Path(os.environ["KMS_FILE"]))
