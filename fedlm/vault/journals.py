"""Journals beside a vault: of a change that was killed, or foreign ones that must not reach the vault.

SQLite replays whatever `VAULT-wal` or `VAULT-journal` lies beside a file, also one of an older state or of another vault
(a backup put back, a file moved). A vault at rest has none, so SQLite never finds one here. One that lies there is
replayed in a copy, and both are checked:

    the vault alone           opens?  id, epoch
    a copy with its journals  opens?  id, epoch
    the same vault, and the copy has the higher epoch    ->  the copy replaces the vault
    the same vault and epoch                             ->  the one in which more clients open; journals removed
    otherwise                                            ->  the vault stays; journals moved aside

"Opens" includes the root, which covers the whole index, and the provider's epoch (`open_head`). What a
change has committed is never lost that way, and an older state never comes back.
"""

import contextlib
import os
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator
from enum import Enum, auto
from pathlib import Path

import numpy as np

from fedlm.errors import FedLMWarning, StorageError, VaultError
from fedlm.system.files import move_into_place, sync_folder
from fedlm.system.own_files import own_file
from fedlm.system.storage import storage_error, storing
from fedlm.vault.format import DOES_NOT_OPEN, Part, Place, unseal
from fedlm.vault.index import unseal_entries
from fedlm.vault.keys import KeyProvider
from fedlm.vault.parts import unseal_all
from fedlm.vault.tables import DAMAGE, Opened, as_bytes, connect, digest, open_head

_REPLAYED = ("-wal", "-journal")
_ALL = (*_REPLAYED, "-shm")
_ASIDE = ".foreign"
_WHY_COPIED = "be copied, to see whether the vault's last change is complete"


class _Best(Enum):
    """Which of the two states is the vault's."""

    COPY = auto()
    EITHER = auto()
    VAULT = auto()


def journals(vault: Path) -> list[Path]:
    """Returns the journals that SQLite would replay: it makes no links and no folders, and ignores empty files."""
    found = [_beside(vault, suffix) for suffix in _REPLAYED]
    return [f for f in found if f.is_file() and not f.is_symlink() and f.stat().st_size > 0]


def _beside(vault: Path, suffix: str) -> Path:
    real = vault.resolve()  # SQLite looks beside the file, not beside a link to it
    return real.with_name(real.name + suffix)


def settle_journals(vault: Path, provider: KeyProvider) -> None:
    """Leaves the vault as its last committed change made it, without journals. The caller holds its lock exclusively.

    Raises:
      VaultError: neither the vault nor the copy opens, or a link or a folder has a journal's name.
      StorageError: a file cannot be read or written.
    """
    if found := journals(vault):
        with _copy(vault) as copy:
            best = _judge(copy, vault, provider)
            if best is _Best.COPY:
                with storing(vault):
                    move_into_place(copy, vault.resolve())
        for file in found:
            _clear(file, vault, is_foreign=best is _Best.VAULT)
        with storing(vault):
            sync_folder(vault.resolve().parent)
    for file in (_beside(vault, suffix) for suffix in _ALL):
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise VaultError(f"{file} is a link or a folder, and a change of the vault needs this name: move it away.")
        with storing(file, "be removed"):
            file.unlink(missing_ok=True)  # empty, or the index (-shm) of a WAL that is gone


def tidy(vault: Path, *, committed: bool) -> None:
    """Removes what a change leaves that ended for want of room; a WAL with a commit stays for `settle_journals`."""
    if not committed or not journals(vault):
        for file in (_beside(vault, suffix) for suffix in _ALL):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


def _clear(file: Path, vault: Path, *, is_foreign: bool) -> None:
    aside = file.with_name(file.name + _ASIDE)
    with storing(file, "be moved"):
        if not is_foreign:
            file.unlink()
            return
        move_into_place(file, aside)
    warnings.warn(
        f"{file} does not belong to this state of {vault}: it was moved to {aside.name}, and the vault stays as it is.",
        FedLMWarning,
        stacklevel=2,
    )


def connect_for_reading(vault: Path, provider: KeyProvider) -> sqlite3.Connection:
    """Returns a connection to the last committed change; vault and journals stay as they are.

    Raises:
      VaultError, StorageError: see `settle_journals`.
    """
    if not journals(vault):
        return connect(vault, mode="immutable")
    with _copy(vault) as copy:  # its name goes at the end; an open connection keeps the content
        best = _judge(copy, vault, provider)
        return connect(copy if best is _Best.COPY else vault, mode="immutable")


@contextlib.contextmanager
def _copy(vault: Path) -> Iterator[Path]:
    """Yields a copy of a vault in which SQLite has replayed the journals: one file, sealed as the vault is."""
    real = vault.resolve()
    with contextlib.ExitStack() as held:
        try:
            copy = held.enter_context(own_file(real.with_name(f"{real.name}.recovery")))
        except StorageError:  # the folder may not be written
            folder = held.enter_context(tempfile.TemporaryDirectory(prefix="fedlm-"))
            copy = Path(folder) / real.name
        parts = [copy.with_name(copy.name + suffix) for suffix in _ALL]
        for part in parts:
            part.unlink(missing_ok=True)  # of a recovery that was killed
            held.callback(part.unlink, missing_ok=True)
        _copy_file(real, copy)
        for journal in journals(vault):
            _copy_file(journal, copy.with_name(copy.name + journal.name.removeprefix(real.name)))
        with (
            contextlib.suppress(*DAMAGE),
            contextlib.closing(connect(copy)) as db,
        ):  # what cannot be replayed does not open
            db.execute("PRAGMA journal_mode=DELETE")
        yield copy


def _copy_file(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
        shutil.copymode(source, target)
        if os.geteuid() == 0:
            owner = source.stat()
            os.chown(target, owner.st_uid, owner.st_gid)
    except OSError as error:
        raise storage_error(error, source, _WHY_COPIED) from None


def _judge(copy: Path, vault: Path, provider: KeyProvider) -> _Best:
    """Compares the vault with the copy that has replayed its journals.

    Raises:
      VaultError: neither opens; the sentence is about the vault.
    """
    theirs, ours = _head(copy, provider), _head(vault, provider)
    if isinstance(theirs, VaultError):
        if isinstance(ours, VaultError):
            raise ours
        return _Best.VAULT
    if isinstance(ours, VaultError):
        return _Best.COPY
    if theirs.vault_id != ours.vault_id or theirs.epoch < ours.epoch:
        return _Best.VAULT
    if theirs.epoch > ours.epoch or _completeness(copy, theirs) > _completeness(vault, ours):
        return _Best.COPY
    return _Best.EITHER


def _head(path: Path, provider: KeyProvider) -> Opened | VaultError:
    try:
        with contextlib.closing(connect(path, mode="immutable")) as db:
            return open_head(db, path, provider)
    except VaultError as error:
        return error
    except sqlite3.Error:
        return VaultError(DOES_NOT_OPEN)


def _completeness(path: Path, head: Opened) -> tuple[bool, int]:
    """Returns whether SQLite finds a file sound, and how many of the index's clients open in it."""
    try:
        with contextlib.closing(connect(path, mode="immutable")) as db:
            sound = db.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",)
            blocks = db.execute("SELECT number, arrays FROM block ORDER BY number")
            entries = (e for number, arrays in blocks for e in unseal_entries(head.keys, head.vault_id, number, arrays))
            return sound, sum(_opens(db, head, entry) for entry in entries)
    except (*DAMAGE, VaultError):
        return False, 0


def _opens(db: sqlite3.Connection, head: Opened, entry: np.void) -> bool:
    row_id = entry["row_id"].tobytes()
    try:
        (wrapped,) = db.execute("SELECT wrapped_key FROM client WHERE row_id = ?", (row_id,)).fetchone() or (b"",)
        key = unseal(head.keys.wrap, Place(head.vault_id, Part.DATA_KEY, row_id), as_bytes(wrapped))
        unseal_all(db, key, head.vault_id, entry)
    except (*DAMAGE, VaultError):
        return False
    return bool(digest(wrapped) == entry["wrapped"].tobytes())
