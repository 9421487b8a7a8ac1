"""Journals beside a SQLite file: of a change that was killed, or foreign ones that must not reach the file.

SQLite replays whatever `FILE-wal` or `FILE-journal` lies beside a file, also one of an older state or of another file (a
backup put back, a file moved). Whoever keeps such a file therefore replays the journals in a copy first, and compares.
"""

import contextlib
import os
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from fedlm.errors import FedLMWarning, StorageError, VaultError
from fedlm.system.database import open_database
from fedlm.system.files import move_into_place
from fedlm.system.own_files import own_file
from fedlm.system.storage import storage_error, storing

REPLAYED = ("-wal", "-journal")
ALL = (*REPLAYED, "-shm")
_ASIDE = ".foreign"
_WHY_COPIED = "be copied, to see whether its last change is complete"


def journals(path: Path) -> list[Path]:
    """Returns the journals that SQLite would replay: it makes no links and no folders, and ignores empty files."""
    found = [beside(path, suffix) for suffix in REPLAYED]
    return [f for f in found if f.is_file() and not f.is_symlink() and f.stat().st_size > 0]


def beside(path: Path, suffix: str) -> Path:
    """Returns the name of a journal."""
    real = path.resolve()  # SQLite looks beside the file, not beside a link to it
    return real.with_name(real.name + suffix)


@contextlib.contextmanager
def replayed(path: Path) -> Iterator[Path]:
    """Yields a copy of the file in which SQLite has replayed the journals: one file, which is removed at the end.

    Raises:
      StorageError: a file cannot be copied.
    """
    real = path.resolve()
    with contextlib.ExitStack() as held:
        try:
            copy = held.enter_context(own_file(real.with_name(f"{real.name}.recovery")))
        except StorageError:  # the folder may not be written
            folder = held.enter_context(tempfile.TemporaryDirectory(prefix="fedlm-"))
            copy = Path(folder) / real.name
        parts = [copy.with_name(copy.name + suffix) for suffix in ALL]
        for part in parts:
            part.unlink(missing_ok=True)  # of a recovery that was killed
            held.callback(part.unlink, missing_ok=True)
        _copy_file(real, copy)
        for journal in journals(path):
            _copy_file(journal, copy.with_name(copy.name + journal.name.removeprefix(real.name)))
        with (
            contextlib.suppress(sqlite3.DatabaseError),  # what cannot be replayed does not open
            contextlib.closing(open_database(copy, "rw")) as db,
        ):
            db.execute("PRAGMA trusted_schema=OFF")
            db.execute("PRAGMA cell_size_check=ON")
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


def remove_rest(path: Path, kept: Sequence[Path] = ()) -> None:
    """Removes what else lies there: empty journals, and the index (-shm) of a WAL that is gone or is read anew.

    Args:
      path: the file, which nobody else has open.
      kept: journals that stay.

    Raises:
      VaultError: a link or a folder has a journal's name.
      StorageError: a file cannot be removed.
    """
    for file in (beside(path, suffix) for suffix in ALL):
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise VaultError(
                f"{file} is a link or a folder, and a change of {path.name} needs this name: move it away."
            )
        if file not in kept:
            with storing(file, "be removed"):
                file.unlink(missing_ok=True)


def set_aside(journal: Path, path: Path) -> None:
    """Moves a foreign journal to a name that SQLite does not read, and warns."""
    aside = journal.with_name(journal.name + _ASIDE)
    with storing(journal, "be moved"):
        move_into_place(journal, aside)
    warnings.warn(
        f"{journal} does not belong to this state of {path}: it was moved to {aside.name}, and {path.name} stays as it is.",
        FedLMWarning,
        stacklevel=3,
    )
