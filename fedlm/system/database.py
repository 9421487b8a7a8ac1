"""SQLite connections that tell what the machine reports as a StorageError or an InUseError.

What is left of sqlite3's errors is about the content of the file. Each step of a statement can fail on a full disk, so
that the translation belongs to the connection and its cursors, not to each place that uses them.
"""

import sqlite3
import weakref
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Literal

from fedlm.system.storage import sqlite_error

Mode = Literal["immutable", "rw", "rwc"]


def _told(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except sqlite3.Error as error:
            owner = self if isinstance(self, Database) else self.connection
            raise owner.told(error) from None

    return call


class _Cursor(sqlite3.Cursor):
    execute = _told(sqlite3.Cursor.execute)
    executemany = _told(sqlite3.Cursor.executemany)
    executescript = _told(sqlite3.Cursor.executescript)
    fetchone = _told(sqlite3.Cursor.fetchone)
    fetchall = _told(sqlite3.Cursor.fetchall)
    __next__ = _told(sqlite3.Cursor.__next__)


class Database(sqlite3.Connection):
    """A connection that knows its file."""

    path = Path()
    writing = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cursors: weakref.WeakSet[sqlite3.Cursor] = weakref.WeakSet()

    def cursor(self, factory: Any = _Cursor) -> Any:
        """Returns a cursor whose errors are told in the same way."""
        made = super().cursor(factory)
        self._cursors.add(made)
        return made

    def close(self) -> None:
        """Closes the file now, also where the traceback of an error still holds a cursor."""
        for cursor in tuple(self._cursors):
            cursor.close()
        super().close()

    def execute(self, *args: Any) -> Any:
        """Runs a statement through such a cursor; sqlite3's own would make a plain one."""
        return self.cursor().execute(*args)

    def executemany(self, *args: Any) -> Any:
        """Runs a statement for each row; see `execute`."""
        return self.cursor().executemany(*args)

    def executescript(self, *args: Any) -> Any:
        """Runs several statements; see `execute`."""
        return self.cursor().executescript(*args)

    def told(self, error: sqlite3.Error) -> Exception:
        """Returns the error to raise."""
        return sqlite_error(error, self.path, writing=self.writing) or error


def open_database(path: Path, mode: Mode = "rwc", *, timeout: float = 5.0) -> sqlite3.Connection:
    """Opens a file without implicit transactions, for all threads.

    Args:
      path: the file.
      mode: `rw` for a file that exists, `rwc` also for one that does not. `immutable` reads only the file itself:
        it takes no lock, writes nothing and ignores journals beside it, so that no change may be under way.
      timeout: how long to wait for another connection, in seconds.

    Raises:
      StorageError: it cannot be opened.
    """
    options = "mode=ro&immutable=1" if mode == "immutable" else f"mode={mode}"
    address = f"{path.absolute().as_uri()}?{options}"
    try:
        db = sqlite3.connect(
            address, timeout, isolation_level=None, check_same_thread=False, uri=True, factory=Database
        )
    except sqlite3.Error as error:
        raise sqlite_error(error, path, writing=mode != "immutable") or error from None
    if isinstance(db, Database):
        db.path, db.writing = path, mode != "immutable"
    return db
