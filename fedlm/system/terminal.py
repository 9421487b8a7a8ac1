"""Progress: a bar with the time left on a terminal, plain lines elsewhere."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LINE_SECONDS, _LINE_SHARE = 10.0, 0.1  # the longer something has taken, the fewer lines it writes


def is_terminal() -> bool:
    """Returns whether stdout is a terminal; a process may have none."""
    return sys.stdout is not None and sys.stdout.isatty()


class ClientProgress:
    """Shows progress over a known number of steps.

    Args:
      title: what is being done.
      quiet: show nothing.
    """

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self._title, self._line = title, ""
        self._began = self._last = time.monotonic()
        self._lines = not quiet and not is_terminal()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            disable=quiet or not is_terminal(),
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
        now, line = time.monotonic(), f"{self._title}: {done}/{total} {note}".rstrip()
        is_due = done == total or now - self._last > max(_LINE_SECONDS, _LINE_SHARE * (now - self._began))
        if self._lines and line != self._line and (is_due or not self._line):
            self._last, self._line = now, line
            print(line, flush=True)


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
