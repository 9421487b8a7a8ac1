"""Tells a machine that does not read or write from a file that is damaged.

A full disk, a quota, a read-only file system or a missing permission leaves files as they are: the cure is room or
a permission, never a backup. Every sentence says which file, why, and what to do:

    OSError (its errno) or SQLite's code  ->  StorageError          the machine
    SQLite's "busy", "locked"             ->  InUseError            another process
    SQLite's "corrupt", "not a database"  ->  left to the caller    the file
"""

import contextlib
import errno
import os
import re
import resource
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fedlm.errors import FedLMError, InUseError, StorageError

_DENIED = ("permission was denied", "run as its owner, or change its permissions and those of its folder")
_REASONS = {  # errno -> what is wrong, what to do
    errno.ENOSPC: ("the disk is full", "free some space"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or ask for a larger quota"),
    errno.EFBIG: ("it reaches the limit on the size of files", "raise the limit (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", "mount it for writing, or use another folder"),
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EIO: ("the disk reports an input or output error", "check the disk"),
    errno.EMFILE: ("this process has too many open files", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("the system has too many open files", "end other programs"),
    errno.ENOMEM: ("there is not enough memory", "end other programs"),
    errno.ENOENT: ("there is no such file or folder", "check the path"),
    errno.EEXIST: ("something is there already", "use another name, or remove it first"),
    errno.EISDIR: ("it is a folder", "use another name"),
    errno.ENOTDIR: ("a part of its path is not a folder", "check the path"),
    errno.ENAMETOOLONG: ("its name is too long", "use a shorter name"),
    errno.ELOOP: ("its links form a circle", "check the links"),
    errno.ESTALE: ("the network file system lost it", "mount it again"),
    errno.ENOLCK: ("the file system has no locks left", "use a local disk"),
}
MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""Errors that say that there is no such file. Every other OSError is the machine's."""

_QUOTED = re.compile(r"(?:errno|os error)\W{1,4}(\d+)", re.IGNORECASE)
_PROBE_BYTES = 64 * 1024
_WRITE_CODES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


def reason_of(error: OSError) -> tuple[str, str]:
    """Returns what is wrong, and what to do about it.

    >>> reason_of(OSError(errno.ENOSPC, "No space left on device"))
    ('the disk is full', 'free some space')
    """
    number = error.errno if error.errno is not None else getattr(quoted_error(error), "errno", None)
    named = os.strerror(number).lower() if number is not None else "input or output failed"
    return _REASONS.get(number or 0, (f"the system reports: {named}", "check the disk and its folder"))


def quoted_error(error: Exception) -> OSError | None:
    """Returns the system's error that another library's error quotes by its number, as h5py and safetensors do, or None."""
    found = _QUOTED.search(str(error))
    return None if found is None else OSError(int(found[1]), os.strerror(int(found[1])))


def storage_error(error: OSError, path: Path | str | None = None, action: str = "be written") -> StorageError:
    """Returns an operating system's error as a sentence about a file.

    Args:
      error: as it was raised.
      path: the file; None is the one that the error names.
      action: what could not be done with it: "be read", "be written".
    """
    what, cure = reason_of(error)
    name = path if path is not None else _name_in(error)
    return StorageError(f"{name} cannot {action}: {what}; {cure}, then try again.")


def _name_in(error: OSError) -> str:
    name = error.filename2 or error.filename  # of a rename, the file that it should have replaced
    return os.fsdecode(name) if isinstance(name, str | bytes) else "A file"


@contextlib.contextmanager
def storing(path: Path | str, action: str = "be written") -> Iterator[None]:
    """Turns an operating system's error in the block into a StorageError about a file; FileExistsError is left to the caller."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise storage_error(error, path, action) from None


@contextlib.contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turns an error of the machine into a StorageError; a missing file is left to the caller (`MISSING`)."""
    try:
        yield
    except MISSING:
        raise
    except OSError as error:
        raise storage_error(error, path, "be read") from None


def sqlite_error(error: sqlite3.Error, path: Path, *, writing: bool) -> FedLMError | None:
    """Returns what SQLite reports about the machine or another process; None if the file's content is at fault.

    Args:
      error: of SQLite.
      path: the database.
      writing: the connection may write.
    """
    full_code = getattr(error, "sqlite_errorcode", None) or 0
    code = full_code & 0xFF  # the rest of an extended code says more
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
        return InUseError(f"{path} is in use by another process: try again when it is done.")
    if full_code in (sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS):
        return None
    if code in (sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_PERM):
        return storage_error(OSError(errno.EFBIG if code == sqlite3.SQLITE_NOLFS else errno.EACCES, ""), path)
    if code not in _WRITE_CODES:
        return None
    cause = _cause(code, path, writing=writing)
    return storage_error(cause, path, "be written" if writing else "be read")


def _cause(code: int, path: Path, *, writing: bool) -> OSError:
    """Finds the number of the error, which SQLite does not pass on."""
    if not os.access(path, os.R_OK, effective_ids=True):
        return OSError(errno.EACCES, "") if path.exists() else OSError(errno.ENOENT, "")
    if writing and (found := _write_problem(path)) is not None:
        return found
    if code == sqlite3.SQLITE_READONLY:
        return OSError(errno.EACCES, "")
    return OSError(errno.ENOSPC if code == sqlite3.SQLITE_FULL else errno.EIO, "")


def _write_problem(path: Path) -> OSError | None:
    """Writes a little beside a file, and returns the error of that; None if it succeeds."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    largest = max(p.stat().st_size for p in (path, path.with_name(f"{path.name}-wal")) if p.exists())
    if limit != resource.RLIM_INFINITY and largest + _PROBE_BYTES > limit:
        return OSError(errno.EFBIG, "")
    try:
        with tempfile.TemporaryFile(dir=path.resolve().parent) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return error
    if not os.access(path, os.W_OK, effective_ids=True):
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
        return OSError(errno.EROFS if read_only else errno.EACCES, "")
    return None


def check_room(path: Path, size_bytes: int) -> None:
    """Checks that a file may grow to a size, before a step that must not stop in its middle.

    Raises:
      StorageError: the disk has too little room, or the process may not make a file so large.
    """
    limit, more = resource.getrlimit(resource.RLIMIT_FSIZE)[0], size_bytes - path.stat().st_size
    if limit != resource.RLIM_INFINITY and size_bytes > limit:
        raise storage_error(OSError(errno.EFBIG, ""), path)
    status = os.statvfs(path)
    if more > 0 and status.f_blocks and more > status.f_bavail * status.f_frsize:
        raise storage_error(OSError(errno.ENOSPC, ""), path)
