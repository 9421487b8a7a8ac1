"""Files that are whole or absent, durable once written, and private where they hold a secret.

An atomic write goes through a second file in the same folder:

    create .NAME.new -> write -> fsync(file) -> rename over NAME -> fsync(folder)

A crash before the rename leaves the old file, a crash after it the new one; the next write of the
same name removes what a crash left. Without the first fsync a power cut could leave an empty file
under the final name, without the second the old one.
"""

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from fedlm.errors import ConfigError

PRIVATE = 0o600


def is_private(file: Path | int) -> bool:
    """Returns whether only its owner may read or write a file, named by its path or an open descriptor."""
    return not stat.S_IMODE(os.stat(file).st_mode) & 0o077  # noqa: PTH116 - a descriptor is not a Path


def check_new_file(path: Path, what: str) -> None:
    """Checks that a file can be made, before any work is done for it.

    Args:
      path: the file; its folder must exist, since a missing one is more often mistyped than meant.
      what: it is, for the sentence: "vault".

    Raises:
      ConfigError: something is at `path`, or its folder is missing or not writable.
    """
    if os.path.lexists(path):
        raise ConfigError(f"{path} exists already: name another file for the {what}, or remove it first.")
    if not path.parent.is_dir():
        is_there = path.parent.exists()
        raise ConfigError(
            f"{path.parent} is not a folder: name another file for the {what}."
            if is_there
            else f"There is no folder {path.parent}: make it first, or name another file for the {what}."
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"The folder {path.parent} is not writable: name another file for the {what}.")


def check_new_folder(path: Path, instead: str) -> None:
    """Checks that a folder can be made, with the folders above it, before any work is done for it.

    Args:
      path: the folder.
      instead: what to do if it exists, such as "name another folder".

    Raises:
      ConfigError: something is at `path`, or the nearest folder above it is a file or not writable.
    """
    if os.path.lexists(path):
        raise ConfigError(f"{path} exists already: {instead}.")
    above = next(p for p in path.absolute().parents if os.path.lexists(p))
    if not above.is_dir():
        raise ConfigError(f"{path} cannot be made: {above} is not a folder.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise ConfigError(f"{path} cannot be made: the folder {above} is not writable.")


def create_private(path: Path, content: str | bytes = b"") -> None:
    """Creates a file of mode 0600 (from its first byte on), never over an existing one or through a link.

    Raises:
      FileExistsError: something is at `path`.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    try:
        with os.fdopen(handle, "wb") as file:
            if content:
                file.write(_as_bytes(content))
                file.flush()
                os.fsync(file.fileno())
    except BaseException:  # a full disk must not leave an empty file that looks like a whole one
        path.unlink(missing_ok=True)
        raise


def write_atomic(path: Path, content: str | bytes, *, private: bool = False) -> None:
    """Replaces a file, see `replacing`; text is UTF-8."""
    with replacing(path, private=private) as beside:
        beside.write_bytes(_as_bytes(content))


@contextlib.contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Yields the name of a file to write, which replaces `path` when the block ends without an error.

    Only one writer at a time may replace a file: callers that share one hold a lock
    (`fedlm.system.locks`).

    Args:
      path: the file; a link is replaced, not followed.
      private: mode 0600 instead of the umask's. The yielded file exists then: truncate it, do not
        replace it.
    """
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)  # of a writer that was killed; perhaps with another mode
    try:
        if private:
            create_private(beside)
        yield beside
        _sync_file(beside)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    # From the rename on, whoever waited for a lock on `path` may write: `beside` is theirs now, and
    # is left alone.
    sync_folder(path.parent)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder to fill, which replaces `path` with all that is in it when the block ends without an error.

    A crash leaves the old folder, the new one, or for the moment between two renames none; never a mixture of them.

    Args:
      path: the folder; a link is replaced, not followed.
    """
    beside, old = path.with_name(f".{path.name}.new"), path.with_name(f".{path.name}.old")
    for left in (beside, old):  # of a writer that was killed
        shutil.rmtree(left, ignore_errors=True)
    beside.mkdir()
    try:
        yield beside
        for file in beside.iterdir():
            _sync_file(file)
        sync_folder(beside)
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.exists():
            path.replace(old)
        beside.replace(path)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        if old.is_dir() and not path.exists():
            old.replace(path)
        raise
    sync_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def move_into_place(source: Path, target: Path) -> None:
    """Renames a finished file of the same folder over `target`; both content and name last through a power cut."""
    _sync_file(source)
    source.replace(target)
    sync_folder(target.parent)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def append_durably(path: Path, text: str) -> None:
    """Appends text to a file that exists, and returns once it is on the disk. Not atomic: a crash may leave a part of it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes names that were created, renamed or removed in a folder last through a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def erase_replaced(handle: int) -> None:
    """Overwrites an open file with zeros if no name is left for it: the secret of a file that was just replaced.

    A file that still has a name is someone's copy and stays. See docs/vault-format.md for what a
    disk may keep all the same.
    """
    status = os.fstat(handle)
    if status.st_nlink == 0:
        os.pwrite(handle, bytes(status.st_size), 0)
        os.fsync(handle)


def _as_bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
