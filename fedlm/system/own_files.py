"""Unfinished files of one process, and the step that puts a finished one where nothing may be overwritten.

Two processes that prepare a file of the same name must not remove or fill each other's unfinished one. A lock on the
unfinished file itself says that its process lives:

    NAME free, or left by a killed process  ->  NAME        made anew
    NAME locked by another process          ->  NAME.2, NAME.3, ...
"""

import contextlib
import ctypes
import errno
import os
import secrets
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from fedlm.system.files import PRIVATE, sync_folder
from fedlm.system.locks import is_at, try_lock
from fedlm.system.storage import storage_error

_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
_UNKNOWN = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)  # a kernel or a file system without this rename


@contextlib.contextmanager
def own_file(path: Path) -> Iterator[Path]:
    """Yields a new, empty file of mode 0600 that is this process' alone, at `path` or beside it.

    The block may rename it; otherwise it is removed at the end. What a killed process leaves is the next owner's to remove.

    Raises:
      StorageError: it cannot be made.
    """
    for number in count(1):
        candidate = path if number == 1 else path.with_name(f"{path.name}.{number}")
        try:
            handle = _claimed(candidate)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise storage_error(error, candidate) from None
            candidate = path.with_name(f"{path.name}.{secrets.token_hex(4)}")  # no locks here: a name of one's own
            handle = os.open(candidate, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
        if handle is not None:
            try:
                yield candidate
            finally:
                if is_at(candidate, handle):  # a renamed one has left the name to others
                    candidate.unlink()
                os.close(handle)
            return


def _claimed(path: Path) -> int | None:
    """Returns a locked new file; None if another process holds one of this name."""
    while True:
        with contextlib.suppress(FileExistsError):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
            if _locked(path, handle):
                return handle
            continue
        try:
            left = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        except (PermissionError, IsADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link of this name is another's
                return None
            raise
        try:
            if not try_lock(left):
                return None
            if is_at(path, left):  # nobody holds it: a killed process left it
                path.unlink()
        finally:
            os.close(left)


def _locked(path: Path, handle: int) -> bool:
    """Locks a file that was just made; False if someone took it for a left one in the meantime."""
    try:
        if try_lock(handle) and is_at(path, handle):
            return True
    except BaseException:
        os.close(handle)
        path.unlink(missing_ok=True)
        raise
    os.close(handle)
    return False


def move_new_into_place(source: Path, target: Path) -> None:
    """Renames a finished file of the same folder to a name that is free; content and name last through a power cut.

    Raises:
      FileExistsError: something has the name. It stays, and so does `source`.
    """
    with source.open("rb") as file:
        os.fsync(file.fileno())
    _rename_new(source, target)
    sync_folder(target.parent)


def _rename_new(source: Path, target: Path) -> None:
    number = _renamed_by_kernel(source, target)
    if number == errno.EEXIST:
        raise FileExistsError(number, os.strerror(number), str(target))
    if number and number not in _UNKNOWN:
        raise OSError(number, os.strerror(number), str(target))
    if number:  # callers hold a lock on the name; what is not fedlm could still come between these lines
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        source.rename(target)


def _renamed_by_kernel(source: Path, target: Path) -> int:
    """Renames in one step that never replaces; returns 0, or the number of the error."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return errno.ENOSYS
    failed = rename(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE)
    return ctypes.get_errno() if failed else 0
