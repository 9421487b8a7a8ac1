"""Who has a vault open: a run or a node trains on it as it opened it, so that nobody may change it meanwhile.

Processes hold a lock on an empty file beside the vault, which the system lets go of when they end, whatever ends them. A file system
without locks, or a folder that is not to be written, goes without.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from fedlm.errors import VaultError
from fedlm.vault.keyfile import is_at

WAIT = 5.0  # seconds, for a change that is just being made or a run that is ending


@contextlib.contextmanager
def in_use(vault: Path) -> Iterator[None]:
    """Keeps others from changing a vault.

    Raises:
      VaultError: it is being changed.
    """
    with _locked(vault, fcntl.LOCK_SH, f"The vault {vault} is being changed: try again when that is done."):
        yield


@contextlib.contextmanager
def being_changed(vault: Path) -> Iterator[None]:
    """Keeps others from training on a vault.

    Raises:
      VaultError: a run or a node has it open, or another process is changing it.
    """
    problem = f"The vault {vault} is in use by a run, a node or another change: end what uses it, then try again."
    with _locked(vault, fcntl.LOCK_EX, problem):
        yield


@contextlib.contextmanager
def _locked(vault: Path, lock: int, problem: str) -> Iterator[None]:
    real = vault.resolve()
    if not real.is_file():  # who opens it says so
        yield
        return
    file, end = real.with_name(f"{real.name}.use"), time.monotonic() + WAIT
    with contextlib.ExitStack() as held:
        while not _is_taken(file, lock, held):
            if time.monotonic() > end:
                raise VaultError(problem)
            time.sleep(0.05)
        yield


def _is_taken(file: Path, lock: int, held: contextlib.ExitStack) -> bool:
    """Takes the lock, if nobody has it who does not share it, until `held` ends; the last one takes the file away."""
    try:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return True
    with contextlib.ExitStack() as opened:
        opened.callback(os.close, handle)
        try:
            fcntl.flock(handle, lock | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # no locks here
            return True
        if not is_at(file, handle):  # taken away since it was opened
            return False
        opened.callback(_take_away, file, handle)
        held.enter_context(opened.pop_all())
    return True


def _take_away(file: Path, handle: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_at(file, handle):
            file.unlink()
