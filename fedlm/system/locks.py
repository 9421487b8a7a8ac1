"""A folder that one process works in at a time; the kernel lets go when that process dies, however it ends."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from fedlm.errors import FedLMError

SUPERVISOR = ".supervisor"  # the lock of a coordinator's or a node's folder; holds the id of its supervisor's process
_SECONDS = 1.0  # whoever asks for the holder has the lock for an instant


@contextlib.contextmanager
def holding(
    path: Path, content: object, problem: str, seconds: float = _SECONDS, kind: type[FedLMError] = FedLMError
) -> Iterator[None]:
    """Holds a lock file.

    Args:
      path: the file; it stays.
      content: what `holder` tells others.
      problem: the sentence for the case that another process keeps it.
      seconds: how long to wait for it.
      kind: of the error.

    Raises:
      FedLMError: the problem, as an error of this kind.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        end = time.monotonic() + seconds
        while not _locked(handle):
            if time.monotonic() > end:
                raise kind(problem)
            time.sleep(0.1)
        os.truncate(handle, 0)
        os.pwrite(handle, str(content).encode(), 0)
        yield
    finally:
        os.close(handle)


def holder(path: Path) -> int | None:
    """Returns the number that the holder of a lock file wrote into it; None if nobody holds it."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if _locked(file.fileno()):
            return None
        return int(file.read() or 0)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def supervising(folder: Path) -> Iterator[None]:
    """Makes this process the only supervisor of a coordinator's or a node's folder.

    Raises:
      FedLMError: it has one.
    """
    other = holder(folder / SUPERVISOR)
    problem = f"{folder} is already served, by process {other}: end that one first."
    with holding(folder / SUPERVISOR, os.getpid(), problem):
        yield


def supervisor(folder: Path) -> int | None:
    """Returns the id of the process that supervises a folder, or None."""
    return holder(folder / SUPERVISOR)
