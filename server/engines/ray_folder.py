"""The folder of a Ray that fedlm starts, and the end of those whose process was killed.

    fedlm-ray-XXXXXXXX/          mode 0700
      driver                     locked while the process that started Ray lives; the kernel releases it however that ends
      kept                       the folder is to stay (FEDLM_DEBUG=1)
      ray/                       what Ray writes: sessions, logs, sockets; Ray opens it to all users of the machine

The processes of a Ray carry its folder in their environment (MARK).
"""

import contextlib
import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fedlm.errors import FedLMError
from fedlm.system.files import move_into_place
from fedlm.system.locks import is_at, open_lock, try_lock
from fedlm.system.processes import DEBUG, marked

SYSTEM_FOLDER = "/tmp"  # noqa: S108 - a folder of our own is made in it, where the path of a session's sockets is short enough
FILES = "ray"
_PREFIX, _LOCK, _KEPT = "fedlm-ray-", "driver", "kept"
_SOCKET_BYTES = 107  # of the path of a Unix socket
_SESSION = "session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"
_END_SECONDS = 5.0


@contextlib.contextmanager
def ray_folder() -> Iterator[Path]:
    """Yields a new folder, and removes it when the block ends, unless FEDLM_DEBUG is set.

    Folders that killed processes of the same user have left are removed first.

    Raises:
      FedLMError: no folder can be made.
    """
    remove_left()
    folder, lock = _new_folder()
    try:
        yield folder
    finally:
        if not (folder / _KEPT).exists():
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_left() -> None:
    """Ends what is left of each Ray whose process was killed, and removes its folder.

    Folders of others, of processes that run, and folders without the lock's file are left. Of a
    folder that is to be kept only the processes are ended.
    """
    for place in _places():
        with contextlib.suppress(OSError):
            for folder in sorted(Path(place).glob(f"{_PREFIX}*")):
                with contextlib.suppress(OSError):  # without the lock's file, or just removed by another process
                    _remove_if_left(folder.absolute())


def end_processes(folder: Path) -> None:
    """Kills the processes that carry a folder's mark, and returns when none is left, or after some seconds."""
    end = time.monotonic() + _END_SECONDS
    while (left := marked(folder)) and time.monotonic() < end:
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


def _remove_if_left(folder: Path) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if try_lock(lock) and is_at(folder / _LOCK, lock):
            end_processes(folder)
            if not (folder / _KEPT).exists():
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _new_folder() -> tuple[Path, int]:
    """Returns a new folder and the descriptor of its lock, which is held."""
    problem = ""
    for place in _places():
        if len(os.fsencode(f"{place}/{_PREFIX}12345678/{FILES}/{_SESSION}")) > _SOCKET_BYTES:
            continue
        try:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place)).resolve()
        except OSError as error:
            problem = f" ({error.strerror})"
            continue
        try:
            return folder, _lock(folder)
        except OSError as error:  # the disk is full, or has no locks
            shutil.rmtree(folder, ignore_errors=True)
            problem = f" ({error.strerror})"
    raise FedLMError(f"Ray needs a folder for temporary files, and none can be written{problem}: set RAY_TMPDIR.")


def _lock(folder: Path) -> int:
    if os.environ.get(DEBUG):
        (folder / _KEPT).touch()
    beside = folder / f"{_LOCK}.new"  # under its own name it is locked from the beginning
    lock = open_lock(beside)
    try_lock(lock)
    move_into_place(beside, folder / _LOCK)
    return lock


def _places() -> list[str]:
    """Returns where folders are made and sought, the first choice first."""
    return [p for p in dict.fromkeys([os.environ.get("RAY_TMPDIR", ""), tempfile.gettempdir(), SYSTEM_FOLDER]) if p]
