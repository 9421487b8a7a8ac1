"""A run's own Ray instance: one folder, processes that carry its mark, and the reason if one of them has ended.

    folder/                 session, logs, sockets: removed with the instance
    MARK=folder             in the environment of each process: raylet, GCS, agents, actors

Ray itself leaves its session in /tmp/ray. A driver whose raylet is gone waits for minutes, in
threads that nothing can interrupt; `abandon` lets the process end without them.
"""

import atexit
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import thread as pools
from pathlib import Path
from typing import Any

from fedlm.errors import FedLMError
from fedlm.system.processes import DEBUG, MARK, Process, how_it_ended, marked

SYSTEM_FOLDER = "/tmp"  # noqa: S108 - a folder of our own is made in it, where the path of a session's sockets is short enough
_SOCKET_BYTES = 107  # of the path of a Unix socket
_SESSION = "/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"
_END_SECONDS = 5.0
_NAMES = {"raylet": "raylet", "gcs_server": "GCS"}  # without these two nothing goes on


class RayInstance:
    """The Ray processes of one run.

    Args:
      folder: for everything that Ray writes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._core = folder, dict[str, Process]()

    def lost(self) -> str:
        """Returns why the run cannot go on, in a sentence; empty while raylet and GCS run, or are yet to start."""
        node: Any = getattr(sys.modules.get("ray._private.worker"), "_global_node", None)
        for kind in _NAMES if node is not None else ():
            for found in node.all_processes.get(kind, ()):
                self._core[kind] = found.process
        for kind, process in self._core.items():
            if (code := process.poll()) is not None:
                return f"Ray's {_NAMES[kind]} {how_it_ended(code)}"
        return ""

    def end(self) -> None:
        """Kills what is left of the instance."""
        end = time.monotonic() + _END_SECONDS
        while (left := marked(self.folder)) and time.monotonic() < end:
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            for child in self._core.values():
                child.poll()
            time.sleep(0.05)


@contextlib.contextmanager
def ray_instance() -> Iterator[RayInstance]:
    """Yields an instance that is yet to start; at the end it has no process and no folder. FEDLM_DEBUG=1 keeps the folder.

    Raises:
      FedLMError: no folder can be made.
    """
    before, folder = os.environ.get(MARK), _folder()
    os.environ[MARK] = str(folder)
    instance = RayInstance(folder)
    try:
        yield instance
    finally:
        instance.end()
        os.environ.pop(MARK)
        if before is not None:
            os.environ[MARK] = before
        if not os.environ.get(DEBUG):
            shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    problem = ""
    for place in dict.fromkeys([os.environ.get("RAY_TMPDIR", ""), tempfile.gettempdir(), SYSTEM_FOLDER]):
        if not place or len(os.fsencode(f"{place}/fedlm-ray-12345678{_SESSION}")) > _SOCKET_BYTES:
            continue
        try:
            return Path(tempfile.mkdtemp(prefix="fedlm-ray-", dir=place)).resolve()
        except OSError as error:
            problem = f" ({error.strerror})"
    raise FedLMError(f"Ray needs a folder for temporary files, and none can be written{problem}: set RAY_TMPDIR.")


def abandon(threads: Collection[threading.Thread]) -> None:
    """Lets the process end although these threads, and Ray's own ones, never will."""
    joined: Any = pools._threads_queues
    for left in threads:
        joined.pop(left, None)  # otherwise the interpreter waits for them at its end
    if (worker := sys.modules.get("ray._private.worker")) is not None:
        atexit.unregister(worker.shutdown)
