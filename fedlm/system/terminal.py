"""Progress: a bar with the time left on a terminal, plain lines elsewhere."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ClientProgress:
    """Shows progress over a known number of steps.

    Args:
      title: what is being done.
      quiet: show nothing.
    """

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self._title, self._last = title, 0.0
        self._lines = not quiet and not sys.stdout.isatty()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            disable=quiet or not sys.stdout.isatty(),
        )
        self._task: Any = None

    def __enter__(self) -> "ClientProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, done: int, total: int, note: str = "") -> None:
        """Shows that `done` of `total` steps are done."""
        if self._task is None:
            self._task = self._bar.add_task(self._title, total=total, note=note)
        self._bar.update(self._task, completed=done, total=total, note=note)
        now = time.monotonic()
        if self._lines and (done == total or now - self._last > 10):
            self._last = now
            print(f"{self._title}: {done}/{total} {note}".rstrip(), flush=True)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discards what is written to stderr while the block runs, also by native code."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
