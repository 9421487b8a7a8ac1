"""The file of a node's memory: made whole, and opened in its newest state whatever lies beside it.

    claim   tag -> digest        spent   tag -> times
    head    change, claims, spends, HMAC(key, change, claims, spends)

Each change adds one to `change` and counts the rows. A WAL that lies beside the file is what a kill has left, or foreign (a
backup put back, another node's). It is replayed in a copy, and both states are read:

    the copy is whole, and the file alone is not, or has a lower change    ->  SQLite replays the WAL
    both are whole, with the same change                                   ->  the WAL is removed: it adds nothing
    otherwise                                                              ->  it is moved aside

A state is whole if head, rows and SQLite's own checks agree.

What was committed is never lost that way, and an older state never comes back through a journal. (Whoever puts back an older
file has an older memory; nothing in the file can tell.)
"""

import contextlib
import hmac
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from fedlm.system.database import open_database
from fedlm.system.files import replacing
from fedlm.system.journals import journals, remove_rest, replayed, set_aside
from fedlm.system.locks import Mode, open_lock, try_lock, wait_for_lock
from fedlm.system.storage import storing

_TABLES = (
    "CREATE TABLE claim (tag BLOB PRIMARY KEY, digest BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE spent (tag BLOB PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE head (change INTEGER, claims INTEGER, spends INTEGER, mac BLOB)",
)


@dataclass(frozen=True, order=True)
class Head:
    """A state of the memory.

    Attributes:
      change: number of changes so far.
      claims: rows of `claim`.
      spends: sum of the times of `spent`.
    """

    change: int = 0
    claims: int = 0
    spends: int = 0

    def after(self, claims: int, spends: int) -> "Head":
        """Returns the head after a change that adds claims and spends."""
        return Head(self.change + 1, self.claims + claims, self.spends + spends)

    def mac(self, key: bytes) -> bytes:
        """Returns HMAC-SHA256(key, change, claims, spends), each of 8 bytes."""
        numbers = (self.change, self.claims, self.spends)
        return hmac.digest(key, b"".join(n.to_bytes(8, "little") for n in numbers), "sha256")


def read_head(db: sqlite3.Connection, key: bytes) -> Head:
    """Returns the head.

    Raises:
      sqlite3.DatabaseError: it is missing, or not of this memory.
    """
    rows = db.execute("SELECT change, claims, spends, mac FROM head LIMIT 2").fetchall()
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        [(*numbers, mac)] = rows
        head = Head(*map(int, numbers))
        if isinstance(mac, bytes) and hmac.compare_digest(head.mac(key), mac):
            return head
    raise sqlite3.DatabaseError("no head of this memory")


def write_head(db: sqlite3.Connection, key: bytes, head: Head) -> None:
    """Replaces the head, within the caller's transaction."""
    db.execute("UPDATE head SET change = ?, claims = ?, spends = ?, mac = ?", (*_numbers(head), head.mac(key)))


def open_memory(path: Path, key: bytes) -> tuple[sqlite3.Connection, int]:
    """Opens the file, mode 0600, and makes it if it is missing.

    Args:
      path: the file. Beside it `.lock` stays, which each process that has the file open shares.
      key: of the head, 32 bytes.

    Returns:
      The connection, and the descriptor of the lock, to be closed after it.

    Raises:
      sqlite3.DatabaseError: it is damaged, or of another memory.
      StorageError: the machine does not read or write it.
    """
    name = path.with_name(f"{path.name}.lock")
    with storing(name):
        lock = open_lock(name)
    try:
        if try_lock(lock):  # nobody else has the file open
            if not os.path.lexists(path):
                _make(path, key)
            _settle(path, key)
        wait_for_lock(lock, Mode.SHARED)
        return _opened(path, key), lock
    except BaseException:
        os.close(lock)
        raise


def _make(path: Path, key: bytes) -> None:
    with replacing(path, private=True) as beside, contextlib.closing(open_database(beside, "rw")) as db:
        for table in _TABLES:
            db.execute(table)
        db.execute("INSERT INTO head VALUES (0, 0, 0, ?)", (Head().mac(key),))
        db.execute("PRAGMA journal_mode=WAL")  # the file says so from now on


def _opened(path: Path, key: bytes) -> sqlite3.Connection:
    if not path.is_file():  # a folder of this name: SQLite would tell of the disk
        raise sqlite3.DatabaseError("no file")
    db = open_database(path, "rw")
    try:
        db.execute("PRAGMA trusted_schema=OFF")
        db.execute("PRAGMA cell_size_check=ON")
        db.execute("PRAGMA synchronous=FULL")  # a claim is on the disk before its reply leaves
        _check(db, key)
    except BaseException:
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection, key: bytes) -> Head:
    """Returns the head of a state that is whole."""
    db.execute("BEGIN")  # head and rows of one state, while others write
    try:
        head = read_head(db, key)
        claims = db.execute("SELECT count(*) FROM claim").fetchone()[0]
        spends = db.execute("SELECT coalesce(sum(times), 0) FROM spent").fetchone()[0]
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    if (claims, spends) != (head.claims, head.spends):
        raise sqlite3.DatabaseError("rows are missing")
    return head


def _settle(path: Path, key: bytes) -> None:
    """Moves journals aside that are foreign; those of a kill stay for SQLite, which replays them."""
    kept = journals(path) if path.is_file() else []
    if kept:
        with replayed(path) as copy:
            theirs, ours = _state(copy, key), _state(path, key)
        if theirs is None and ours is None:
            raise sqlite3.DatabaseError("neither state is whole")
        if ours is not None and (theirs is None or theirs <= ours):
            for journal in kept if theirs != ours else ():
                set_aside(journal, path)
            kept = []
    remove_rest(path, kept)


def _state(path: Path, key: bytes) -> Head | None:
    """Returns the head of a file that is whole, whatever lies beside it; None of any other."""
    try:
        with contextlib.closing(open_database(path, "immutable")) as db:
            head = _check(db, key)
            return head if db.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",) else None
    except sqlite3.Error:
        return None


def _numbers(head: Head) -> tuple[int, int, int]:
    return head.change, head.claims, head.spends
