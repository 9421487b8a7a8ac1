"""Locks on open vaults. A run or node relies on the state of a vault at opening, so no process may change it meanwhile.

Readers share a lock on an empty file beside the vault (`VAULT.use`); a change holds it exclusively; the
kernel releases it when the process ends, however it ends. A file system without locks, or a folder
that may not be written, is used without.

The last holder removes the file. That is safe because everyone who gets the lock compares the file
with the file that now has the name (`is_at`): a process that waited on a removed file starts over.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from fedlm.errors import VaultError
from fedlm.system.locks import Mode, is_at, open_lock, try_lock

WAIT = 5.0  # seconds, for a change that is just being made or a run that is ending
_POLL_SECONDS = 0.05


@contextlib.contextmanager
def in_use(vault: Path) -> Iterator[None]:
    """Keeps others from changing a vault.

    Raises:
      VaultError: it is being changed.
    """
    with _locked(vault, Mode.SHARED, f"The vault {vault} is being changed: try again when that is done."):
        yield


@contextlib.contextmanager
def being_changed(vault: Path) -> Iterator[None]:
    """Keeps others from training on a vault and from changing it.

    Raises:
      VaultError: a run or a node has it open, or another process is changing it.
    """
    problem = f"The vault {vault} is in use by a run, a node or another change: end what uses it, then try again."
    with _locked(vault, Mode.EXCLUSIVE, problem):
        yield


@contextlib.contextmanager
def _locked(vault: Path, mode: Mode, problem: str) -> Iterator[None]:
    real = vault.resolve()
    if not real.is_file():  # whoever opens it reports that
        yield
        return
    file, end = real.with_name(f"{real.name}.use"), time.monotonic() + WAIT
    with contextlib.ExitStack() as held:
        while not _acquired(file, mode, held):
            if time.monotonic() > end:
                raise VaultError(problem)
            time.sleep(_POLL_SECONDS)
        yield


def _acquired(file: Path, mode: Mode, held: contextlib.ExitStack) -> bool:
    """Takes the lock until `held` ends, unless someone else's lock is in its way."""
    try:
        handle = open_lock(file)
    except OSError:  # the folder may not be written
        return True
    with contextlib.ExitStack() as opened:
        opened.callback(os.close, handle)
        try:
            if not try_lock(handle, mode):
                return False
        except OSError:  # no locks here
            return True
        if not is_at(file, handle):  # its last holder removed it after it was opened here
            return False
        opened.callback(_remove_if_last, file, handle)
        held.enter_context(opened.pop_all())
    return True


def _remove_if_last(file: Path, handle: int) -> None:
    with contextlib.suppress(OSError):
        if try_lock(handle, Mode.EXCLUSIVE) and is_at(file, handle):
            file.unlink()
