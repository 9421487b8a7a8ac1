"""Journals beside a vault: of a change that was killed, or foreign ones that must not reach the vault.

SQLite would replay them (`fedlm/system/journals.py`). A vault at rest has none, so SQLite never finds one here. One that lies
there is replayed in a copy, and both are checked:

    the vault alone           opens?  id, epoch
    a copy with its journals  opens?  id, epoch
    the same vault, and the copy has the higher epoch    ->  the copy replaces the vault
    the same vault and epoch                             ->  the one in which more clients open; journals removed
    otherwise                                            ->  the vault stays; journals moved aside

"Opens" includes the root, which covers the whole index, and the provider's epoch (`open_head`). What a
change has committed is never lost that way, and an older state never comes back.
"""

import contextlib
import sqlite3
from enum import Enum, auto
from pathlib import Path

import numpy as np

from fedlm.errors import VaultError
from fedlm.system.files import move_into_place, sync_folder
from fedlm.system.journals import ALL, beside, journals, remove_rest, replayed, set_aside
from fedlm.system.storage import storing
from fedlm.vault.format import DOES_NOT_OPEN, Part, Place, unseal
from fedlm.vault.index import unseal_entries
from fedlm.vault.keys import KeyProvider
from fedlm.vault.parts import unseal_all
from fedlm.vault.tables import DAMAGE, Opened, as_bytes, connect, digest, open_head


class _Best(Enum):
    """Which of the two states is the vault's."""

    COPY = auto()
    EITHER = auto()
    VAULT = auto()


def settle_journals(vault: Path, provider: KeyProvider) -> None:
    """Leaves the vault as its last committed change made it, without journals. The caller holds its lock exclusively.

    Raises:
      VaultError: neither the vault nor the copy opens, or a link or a folder has a journal's name.
      StorageError: a file cannot be read or written.
    """
    if found := journals(vault):
        with replayed(vault) as copy:
            best = _judge(copy, vault, provider)
            if best is _Best.COPY:
                with storing(vault):
                    move_into_place(copy, vault.resolve())
        for file in found:
            _clear(file, vault, is_foreign=best is _Best.VAULT)
        with storing(vault):
            sync_folder(vault.resolve().parent)
    remove_rest(vault)


def tidy(vault: Path, *, committed: bool) -> None:
    """Removes what a change leaves that ended for want of room; a WAL with a commit stays for `settle_journals`."""
    if not committed or not journals(vault):
        for file in (beside(vault, suffix) for suffix in ALL):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


def _clear(file: Path, vault: Path, *, is_foreign: bool) -> None:
    if is_foreign:
        set_aside(file, vault)
        return
    with storing(file, "be moved"):
        file.unlink()


def connect_for_reading(vault: Path, provider: KeyProvider) -> sqlite3.Connection:
    """Returns a connection to the last committed change; vault and journals stay as they are.

    Raises:
      VaultError, StorageError: see `settle_journals`.
    """
    if not journals(vault):
        return connect(vault, mode="immutable")
    with replayed(vault) as copy:  # its name goes at the end; an open connection keeps the content
        best = _judge(copy, vault, provider)
        return connect(copy if best is _Best.COPY else vault, mode="immutable")


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
