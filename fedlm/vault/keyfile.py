"""Stored vault keys, one entry a vault: in a key file (mode 0600) here, in the OS keyring in `providers.py`.

A change of the vault key survives a crash at any step:

    propose    {key: old, epoch: e}  ->  {key: old, next: new, epoch: e}     before anything is wrapped under `new`
    (the vault commits its rows, wrapped under `new`, with epoch e + 1)
    settle     {key: new, epoch: e + 1}                                      only now is `old` destroyed

Killed before the commit, the vault opens with `old`; killed after it, with `next`; `keys` offers both.
"""

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

from fedlm.errors import ConfigError, VaultError
from fedlm.system.files import create_private, erase_replaced, is_private, sync_folder, write_atomic
from fedlm.system.locks import Mode, is_at, wait_for_lock
from fedlm.system.storage import MISSING, reading, storage_error, storing
from fedlm.vault.format import KEY_BYTES

_EMPTY = json.dumps({"fedlm-key": 1, "vaults": {}})


class _Backend(Protocol):
    def load(self, vault_id: bytes) -> dict[str, Any] | None: ...

    def save(self, vault_id: bytes, entry: dict[str, Any]) -> None: ...


class StoredKeys:
    """The key provider over a backend that stores one entry a vault: key, next key, epoch.

    Args:
      backend: where entries are; `save` is atomic and durable.
    """

    def __init__(self, backend: _Backend) -> None:
        self._backend = backend

    def create(self, vault_id: bytes, kdf: bytes) -> bytes:
        """Stores a random key."""
        key = secrets.token_bytes(KEY_BYTES)
        self._backend.save(vault_id, {"key": key.hex(), "epoch": 0})
        return key

    def keys(self, vault_id: bytes, kdf: bytes) -> list[bytes]:
        """Returns the key, and the next one if a change was under way."""
        entry = self._backend.load(vault_id) or {}
        return [bytes.fromhex(entry[k]) for k in ("key", "next") if k in entry]

    def propose(self, vault_id: bytes, kdf: bytes) -> bytes:
        """Stores a random key beside the current one."""
        key = secrets.token_bytes(KEY_BYTES)
        self._backend.save(vault_id, {**(self._backend.load(vault_id) or {}), "next": key.hex()})
        return key

    def settle(self, vault_id: bytes, key: bytes, epoch: int) -> None:
        """Keeps this key only."""
        entry = {"key": key.hex(), "epoch": epoch}
        if self._backend.load(vault_id) != entry:
            self._backend.save(vault_id, entry)

    def epoch(self, vault_id: bytes) -> int | None:
        """Returns the epoch last settled."""
        entry = self._backend.load(vault_id)
        return None if entry is None else int(entry["epoch"])


class KeyFile:
    """Entries in one JSON file, mode 0600.

    Args:
      path: the file; behind a link, the file that it points to.
    """

    def __init__(self, path: Path) -> None:
        self._path = _target(path)

    def load(self, vault_id: bytes) -> dict[str, Any] | None:
        """Returns a vault's entry, or None.

        Raises:
          VaultError: the file is missing, is not a key file, or others may read it.
        """
        with _locked(self._path, Mode.SHARED) as file:
            entry = _parse(self._path, file)["vaults"].get(vault_id.hex())
        return None if entry is None else dict(entry)

    def save(self, vault_id: bytes, entry: dict[str, Any]) -> None:
        """Replaces a vault's entry and overwrites the bytes of the file before; other vaults' entries stay."""
        with _locked(self._path, Mode.EXCLUSIVE) as before:
            empty = os.fstat(before.fileno()).st_size == 0  # another process is just making it, or was killed there
            content = json.loads(_EMPTY) if empty else _parse(self._path, before)
            content["vaults"][vault_id.hex()] = entry
            with storing(f"The key file {self._path}"):
                write_atomic(self._path, json.dumps(content), private=True)
                erase_replaced(before.fileno())

    def remove(self, vault_id: bytes, *, unlink: bool) -> None:
        """Removes a vault's entry, as `save` does; with `unlink`, and the file as well if no entry remains."""
        with _locked(self._path, Mode.EXCLUSIVE) as before:
            content = _parse(self._path, before)
            entry = content["vaults"].pop(vault_id.hex(), None)
            if unlink and not content["vaults"]:
                self._path.unlink()
            elif entry is not None:
                write_atomic(self._path, json.dumps(content), private=True)
            erase_replaced(before.fileno())


def make_key_file(path: Path) -> bool:
    """Writes a key file without entries, mode 0600, if there is none; returns whether it did."""
    path = _target(path)
    if path.exists():
        return False
    try:
        with storing(f"The key file {path}"):
            create_private(path, _EMPTY)
            sync_folder(path.parent)
    except FileExistsError:  # another process was faster
        return False
    return True


def create_key_file(path: Path) -> None:
    """Writes a key file without entries, mode 0600, never over an existing file.

    Raises:
      ConfigError: the file exists.
    """
    if not make_key_file(path):
        raise ConfigError(f"The key file {path} exists already and is never overwritten: name another one.")


def _target(path: Path) -> Path:
    """Returns the file behind links: a rename over a link would leave the old key where the link points to."""
    return Path(os.path.realpath(path))


def _parse(path: Path, file: BinaryIO) -> dict[str, Any]:
    with reading(f"The key file {path}"):
        stored = file.read()
    try:
        content = json.loads(stored)
        is_key = content["fedlm-key"] == 1 and all(map(is_entry, content["vaults"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_key = False
    if not is_key:  # before the mode: nobody should run chmod on a file that is not a key
        raise VaultError(f"{path} is not a key file of fedlm: name the vault's key with --key-file.")
    if not is_private(file.fileno()):
        raise VaultError(f"Other users may read the key file {path}: run chmod 600 on it.")
    return dict(content)


def is_entry(entry: Any) -> bool:
    """Returns whether a JSON value holds a key, perhaps a next one, and an epoch."""
    try:
        keys = [bytes.fromhex(entry[k]) for k in ("key", "next") if k == "key" or k in entry]
        return all(len(k) == KEY_BYTES for k in keys) and type(entry["epoch"]) is int
    except (ValueError, KeyError, TypeError):
        return False


@contextlib.contextmanager
def _locked(path: Path, mode: Mode) -> Iterator[BinaryIO]:
    """Opens a key file under its lock, which is on the file itself.

    Two vaults that share the file and change at once thus keep each other's entry, and nobody reads
    the old file while it is being overwritten.
    """
    opened_for: Literal["rb", "r+b"] = "rb" if mode is Mode.SHARED else "r+b"
    while True:
        try:
            file = path.open(opened_for)
        except FileNotFoundError:
            raise VaultError(f"The key file {path} is missing: name the vault's key with --key-file.") from None
        except MISSING as error:
            raise VaultError(f"The key file {path} cannot be opened: {error.strerror}.") from None
        except OSError as error:
            raise storage_error(error, f"The key file {path}", "be opened") from None
        with file:
            with contextlib.suppress(OSError):  # a file system without locks: its owner makes one change at a time
                wait_for_lock(file.fileno(), mode)
            if is_at(path, file.fileno()):  # otherwise it was replaced or removed while this process waited
                yield file
                return
