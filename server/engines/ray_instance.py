"""A Ray that fedlm starts: its processes, which carry the mark of its folder, and the reason if one of them has ended.

    folder/                 see `ray_folder`: removed with the instance
    MARK=folder             in the environment of each process: raylet, GCS, agents, actors

Ray itself would leave its session in /tmp/ray. A driver whose raylet is gone waits for minutes, in
threads that nothing can interrupt; `abandon` lets the process end without them.
"""

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import thread as pools
from pathlib import Path
from typing import Any

from fedlm.system.processes import MARK, Process, how_it_ended
from server.engines.ray_folder import FILES, end_processes, ray_folder

_NAMES = {"raylet": "raylet", "gcs_server": "GCS"}  # without these two nothing goes on


class RayInstance:
    """The Ray processes of one run.

    Args:
      folder: of this instance alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._core = folder, dict[str, Process]()

    @property
    def files(self) -> Path:
        """The folder for everything that Ray writes."""
        return self._folder / FILES

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
        end_processes(self._folder)
        for child in self._core.values():
            child.poll()


@contextlib.contextmanager
def ray_instance() -> Iterator[RayInstance]:
    """Yields an instance that is yet to start; at the end it has no process and no folder. FEDLM_DEBUG=1 keeps the folder.

    Raises:
      FedLMError: no folder can be made.
    """
    with ray_folder() as folder, _in_environment(MARK, str(folder)):
        instance = RayInstance(folder)
        try:
            yield instance
        finally:
            instance.end()


@contextlib.contextmanager
def _in_environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def abandon(threads: Collection[threading.Thread]) -> None:
    """Lets the process end although these threads, and Ray's own ones, never will."""
    joined: Any = pools._threads_queues
    for left in threads:
        joined.pop(left, None)  # otherwise the interpreter waits for them at its end
    if (worker := sys.modules.get("ray._private.worker")) is not None:
        atexit.unregister(worker.shutdown)
