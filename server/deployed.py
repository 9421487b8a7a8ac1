"""What the ServerApp of a deployment and `fedlm deploy run` agree on: names in the run's folder, and one writer at a time."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from flwr.serverapp import Grid

from fedlm.errors import FedLMError

DEPLOYED, LOCK = "deployed.json", ".lock"
_LOCK_SECONDS = 60.0


@contextlib.contextmanager
def holding(path: Path, run_id: int) -> Iterator[None]:
    """Holds the run's folder; the kernel lets go when this process dies.

    Raises:
      FedLMError: another process of the run keeps it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        end = time.monotonic() + _LOCK_SECONDS
        while not _locked(handle):
            if time.monotonic() > end:
                raise FedLMError(f"Another ServerApp works in {path.parent}; stop it first.")
            time.sleep(0.2)
        os.truncate(handle, 0)
        os.pwrite(handle, str(run_id).encode(), 0)
        yield
    finally:
        os.close(handle)


def holder(path: Path) -> int | None:
    """Returns Flower's id of the run whose ServerApp holds the folder; None if nobody does."""
    if not path.is_file():
        return None
    with path.open("r+b") as file:
        if _locked(file.fileno()):
            return None
        return int(file.read() or 0)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_nodes(grid: Grid, count: int, seconds: float) -> None:
    """Returns once `count` nodes are connected.

    Raises:
      FedLMError: fewer are there after `seconds`.
    """
    wait_for(lambda: len(list(grid.get_node_ids())) >= count, seconds, f"Not all {count} nodes are connected")


def wait_for(condition: Callable[[], bool], seconds: float, problem: str) -> None:
    """Returns once the condition holds.

    Raises:
      FedLMError: the problem, after `seconds`.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise FedLMError(f"{problem} in {seconds:.0f} s; see fedlm deploy status and the logs.")
        time.sleep(0.1)
