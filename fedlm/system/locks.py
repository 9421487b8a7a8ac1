"""Locks between processes: one holder, or several that share; the kernel releases them however a process ends.

The only place that calls flock(2). The package `filelock` (4.2) does not fit:
- its lock on flock is exclusive only, and its shared lock is a SQLite database; readers of a vault
  and of a key file share;
- it hides the descriptor; a key file is read through the descriptor that is locked, since it may be
  replaced meanwhile;
- where a file system has no flock it falls back to a lock by existence, which a killed process
  leaves behind.

A lock belongs to an open file, not to a name. Whoever waits may therefore end up with a file that
was replaced or removed meanwhile, and compares the locked file with the file that now has the name
(`is_at`) before it relies on the lock.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

from fedlm.errors import FedLMError
from fedlm.system.files import PRIVATE

SUPERVISOR = ".supervisor"  # the lock of a coordinator's or a node's folder; holds the id of its supervisor's process
_WAIT_SECONDS = 1.0  # `holder` takes the lock for an instant
_POLL_SECONDS = 0.05


class Mode(IntEnum):
    """How a lock is held."""

    SHARED = fcntl.LOCK_SH
    EXCLUSIVE = fcntl.LOCK_EX


def try_lock(handle: int, mode: Mode = Mode.EXCLUSIVE) -> bool:
    """Locks an open file without waiting; returns False if another open file holds a lock in its way.

    Called again with another mode, it converts the lock. Closing the descriptor releases it.

    Raises:
      OSError: the file system has no locks.
    """
    try:
        fcntl.flock(handle, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(handle: int, mode: Mode = Mode.EXCLUSIVE) -> None:
    """Locks an open file, however long that takes; see `try_lock`."""
    fcntl.flock(handle, mode)


def is_at(path: Path, handle: int) -> bool:
    """Returns whether an open file is the one that a path names."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def open_lock(path: Path) -> int:
    """Opens a lock file, mode 0600, and creates it if it is missing; returns the descriptor, not yet locked."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Waits for a lock file, which stays, and holds it while the block runs."""
    handle = open_lock(path)
    try:
        wait_for_lock(handle)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def holding(
    path: Path, content: object, problem: str, seconds: float = _WAIT_SECONDS, kind: type[FedLMError] = FedLMError
) -> Iterator[None]:
    """Holds a lock file that names its holder.

    Args:
      path: the file; it stays.
      content: what `holder` returns to others, a whole number.
      problem: the sentence for the case that another process holds it.
      seconds: how long to wait for it.
      kind: of the error.

    Raises:
      FedLMError: the problem, as an error of this kind.
    """
    handle = open_lock(path)
    try:
        end = time.monotonic() + seconds
        while not try_lock(handle):
            if time.monotonic() > end:
                raise kind(problem)
            time.sleep(_POLL_SECONDS)
        os.truncate(handle, 0)
        os.pwrite(handle, str(content).encode(), 0)
        yield
    finally:
        os.close(handle)


def holder(path: Path) -> int | None:
    """Returns the number that the holder of a lock file wrote into it; None if it is not held."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if try_lock(file.fileno()):  # released at once, as the file closes
            return None
        return int(file.read() or 0)


@contextlib.contextmanager
def supervising(folder: Path) -> Iterator[None]:
    """Makes this process the only supervisor of a coordinator's or a node's folder.

    Raises:
      FedLMError: it has one.
    """
    other = holder(folder / SUPERVISOR)
    problem = f"{folder} is already served by process {other}: stop that process first."
    with holding(folder / SUPERVISOR, os.getpid(), problem):
        yield


def supervisor(folder: Path) -> int | None:
    """Returns the id of the process that supervises a folder, or None."""
    return holder(folder / SUPERVISOR)
