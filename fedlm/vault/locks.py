"""Locks on vaults. Whoever reads a vault relies on its state at opening, so no process may change it meanwhile.

Readers share a lock on an empty file beside the vault (`VAULT.use`); a change holds it exclusively, and so does
`prepare` while the vault of that name does not exist yet. The kernel releases it when the process ends, however it
ends. A file system without locks, or a reader in a folder that may not be written, does without.

The last holder removes the file. That is safe because everyone who gets the lock compares the file
with the file that now has the name (`is_at`): a process that waited on a removed file starts over.
"""

import contextlib
import errno
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from fedlm.errors import InUseError, VaultError
from fedlm.system.locks import Mode, is_at, open_lock, try_lock
from fedlm.system.storage import storage_error

WAIT = 5.0  # seconds, for a change that is just being made or a run that is ending
_MAKING_WAIT = 0.5  # a vault takes long to make: whoever comes second should not wait for it
_POLL_SECONDS = 0.05
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
_READERS: "defaultdict[Path, set[contextlib.ExitStack]]" = defaultdict(set)  # of this process


@contextlib.contextmanager
def in_use(vault: Path) -> Iterator[bool]:
    """Keeps others from changing a vault; yields whether it does, since some file systems have no locks.

    Raises:
      InUseError: it is being changed.
    """
    if not vault.is_file():  # whoever opens it reports that
        yield False
        return
    problem = f"The vault {vault} is being changed: try again when that is done."
    with _locked(vault, Mode.SHARED, problem, WAIT) as held:
        yield held


@contextlib.contextmanager
def being_read(vault: Path) -> Iterator[bool]:
    """Is `in_use` towards other processes; a change by this process, which knows what it has open, ends it early."""
    real = vault.resolve()
    with contextlib.ExitStack() as held:
        yields = held.enter_context(in_use(vault))
        _READERS[real].add(held)
        try:
            yield yields
        finally:
            _READERS[real].discard(held)


@contextlib.contextmanager
def being_changed(vault: Path, wait: float | None = None) -> Iterator[bool]:
    """Keeps others from reading a vault and from changing it; see `in_use`.

    Raises:
      InUseError: a run or a node has it open, or another process is changing it.
      VaultError: it has a second name.
      StorageError: the lock's file cannot be made.
    """
    if not vault.is_file():
        yield False
        return
    problem = f"The vault {vault} is in use by a run, a node or another change: end what uses it, then try again."
    with _locked(vault, Mode.EXCLUSIVE, problem, WAIT if wait is None else wait) as held:
        _check_one_name(vault)
        yield held


@contextlib.contextmanager
def being_made(vault: Path) -> Iterator[bool]:
    """Keeps others from making a vault of the same name; see `in_use`.

    Raises:
      InUseError: another process is making it.
    """
    problem = f"Another process is making the vault {vault}: wait until it is done, or name another file."
    with _locked(vault, Mode.EXCLUSIVE, problem, _MAKING_WAIT) as held:
        yield held


def _check_one_name(vault: Path) -> None:
    # The lock and SQLite's journals are found by the name: under another one nobody would see them.
    if (names := vault.stat().st_nlink) > 1:
        raise VaultError(
            f"The vault {vault} has {names} names (hard links), and a change under one is unsafe for who uses another: keep one "
            "name, or copy the file, then try again."
        )


@contextlib.contextmanager
def _locked(vault: Path, mode: Mode, problem: str, wait: float) -> Iterator[bool]:
    real = vault.resolve()
    file, end = real.with_name(f"{real.name}.use"), time.monotonic() + wait
    for own in tuple(_READERS[real]) if mode is Mode.EXCLUSIVE else ():
        own.close()
    with contextlib.ExitStack() as held:
        while (got := _acquired(file, mode, held)) is None:
            if time.monotonic() > end:
                raise InUseError(problem)
            time.sleep(_POLL_SECONDS)
        yield got


def _acquired(file: Path, mode: Mode, held: contextlib.ExitStack) -> bool | None:
    """Takes the lock until `held` ends.

    Returns:
      True; None if someone else's lock is in its way; False if there can be no lock.
    """
    if (handle := _opened(file, mode)) is None:
        return False
    with contextlib.ExitStack() as opened:
        opened.callback(os.close, handle)
        try:
            if not try_lock(handle, mode):
                return None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise storage_error(error, file, "be locked") from None
            return False
        if not is_at(file, handle):  # its last holder removed it after it was opened here
            return None
        opened.callback(_remove_if_last, file, handle)
        held.enter_context(opened.pop_all())
    return True


def _opened(file: Path, mode: Mode) -> int | None:
    """Opens the lock's file; None for a reader where there is none and none can be made: then nobody can change the vault either."""
    try:
        try:
            return open_lock(file)
        except OSError:
            if mode is Mode.EXCLUSIVE:
                raise
            return os.open(file, os.O_RDONLY | os.O_CLOEXEC)  # on a read-only file system
    except FileNotFoundError:
        return None
    except OSError as error:
        vault = file.with_name(file.name.removesuffix(".use"))
        raise storage_error(error, f"The vault {vault}", f"be locked ({file.name})") from None


def _remove_if_last(file: Path, handle: int) -> None:
    with contextlib.suppress(OSError):
        if try_lock(handle, Mode.EXCLUSIVE) and is_at(file, handle):
            file.unlink()
