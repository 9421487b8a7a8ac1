"""Vault keys that are stored, one entry a vault: in a key file (mode 0600) here, in a key ring in `ring.py`."""

import contextlib
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

from fedlm.errors import VaultError
from fedlm.system.files import sync_folder
from fedlm.vault.format import KEY_BYTES

_EMPTY = json.dumps({"fedlm-key": 1, "vaults": {}})


class _Backend(Protocol):
    def load(self, vault_id: bytes) -> dict[str, Any] | None: ...

    def save(self, vault_id: bytes, entry: dict[str, Any]) -> None: ...


class StoredKeys:
    """The key provider over a backend that stores one entry a vault: key, next key, epoch.

    Args:
      backend: where entries are; `save` is atomic and lasting.
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
        """Stores a random key beside the old one."""
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
        entry = _read(self._path)["vaults"].get(vault_id.hex())
        return None if entry is None else dict(entry)

    def save(self, vault_id: bytes, entry: dict[str, Any]) -> None:
        """Replaces a vault's entry, and overwrites the bytes of the file before; other vaults' entries stay."""
        with _locked(self._path, "r+b", fcntl.LOCK_EX) as before:
            empty = os.fstat(before.fileno()).st_size == 0  # who makes it has not written yet, or never came to it
            content = json.loads(_EMPTY) if empty else _parse(self._path, before)
            content["vaults"][vault_id.hex()] = entry
            _write(self._path, json.dumps(content))
            _overwrite(before.fileno())

    def remove(self, vault_id: bytes, *, unlink: bool) -> None:
        """Takes a vault's entry away, as `save` does; with `unlink`, the file too if no entry is left."""
        with _locked(self._path, "r+b", fcntl.LOCK_EX) as before:
            content = _parse(self._path, before)
            entry = content["vaults"].pop(vault_id.hex(), None)
            if unlink and not content["vaults"]:
                self._path.unlink()
            elif entry is not None:
                _write(self._path, json.dumps(content))
            _overwrite(before.fileno())


def make_key_file(path: Path) -> bool:
    """Writes a key file without entries, mode 0600, if there is none; returns whether it did."""
    path = _target(path)
    if path.exists():
        return False
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another process was faster
        return False
    _fill(handle, _EMPTY)
    sync_folder(path.parent)
    return True


def create_key_file(path: Path) -> None:
    """Writes a key file without entries, mode 0600, never over an existing file.

    Raises:
      VaultError: the file is there already.
    """
    if not make_key_file(path):
        raise VaultError(f"The key file {path} is there already; it is never overwritten.")


def _target(path: Path) -> Path:
    """Returns the file behind links: a rename over a link would leave the old key where it points to."""
    return Path(os.path.realpath(path))


def _read(path: Path) -> dict[str, Any]:
    with _locked(path, "rb", fcntl.LOCK_SH) as file:
        return _parse(path, file)


def _parse(path: Path, file: BinaryIO) -> dict[str, Any]:
    try:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise VaultError(f"Others may read the key file {path}: run chmod 600 on it.")
        content = json.loads(file.read())
        if content["fedlm-key"] == 1 and all(map(is_entry, content["vaults"].values())):
            return dict(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
        pass
    raise VaultError(f"{path} is not a key file of fedlm: name the vault's key with --key-file.")


def is_entry(entry: Any) -> bool:
    """Returns whether a JSON value holds a key, perhaps a next one, and an epoch."""
    try:
        keys = [bytes.fromhex(entry[k]) for k in ("key", "next") if k == "key" or k in entry]
        return all(len(k) == KEY_BYTES for k in keys) and type(entry["epoch"]) is int
    except (ValueError, KeyError, TypeError):
        return False


@contextlib.contextmanager
def _locked(path: Path, mode: Literal["rb", "r+b"], lock: int) -> Iterator[BinaryIO]:
    """Opens a key file under its lock.

    Of two vaults that share the file and change at once neither undoes the other's entry, and nobody reads the old file
    while it is being overwritten.
    """
    while True:
        try:
            file = path.open(mode)
        except FileNotFoundError:
            raise VaultError(f"The key file {path} is missing: name the vault's key with --key-file.") from None
        except OSError as error:
            raise VaultError(f"The key file {path} does not open: {error.strerror}.") from None
        with file:
            with contextlib.suppress(
                OSError
            ):  # a file system without locks: one change at a time is its owner's affair
                fcntl.flock(file, lock)
            if is_at(path, file.fileno()):  # else it was replaced or removed while this one waited
                yield file
                return


def is_at(path: Path, handle: int) -> bool:
    """Returns whether an open file is the one that a path names."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _write(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        beside.unlink()
    _fill(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), text)
    beside.replace(path)
    sync_folder(path.parent)


def _fill(handle: int, text: str) -> None:
    with os.fdopen(handle, "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())


def _overwrite(handle: int) -> None:
    """Zeros a file that was replaced, unless it has another name (then it is someone's copy)."""
    status = os.fstat(handle)
    if status.st_nlink == 0:
        os.pwrite(handle, bytes(status.st_size), 0)
        os.fsync(handle)
