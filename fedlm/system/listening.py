"""What a process writes to stderr while it starts or is killed: held, so that its end is a sentence and not a traceback."""

import contextlib
import os
import re
import select
import subprocess
import sys
import threading
import time
from collections import deque

from fedlm.system.processes import DEBUG, Process, last_line

_LINES = 200  # held at most
_SECONDS = 5.0  # for the last words of a process that has ended
_HELD_SECONDS = 1.0  # so long, native code that gives up has ended the process after its first line
_SHOWN = 300  # characters
_FRAME = re.compile(r"\s*(@ +0x|\*\*\* |#\d+ )")  # a line of a native stack


class StartupErrors:
    """The stderr of one process: held until the process is ready, then passed on to ours a second later.

    What it writes before it is ready is about its start: it has opened no text yet that a sentence could quote. What it
    writes in the second before a signal ends it is native code's dump, and is not passed on.

    Args:
      process: its stderr is a pipe, see `processes.start(errors=True)`.
    """

    def __init__(self, process: Process) -> None:
        if process.stderr is None:
            raise TypeError("the process has no pipe for its errors")
        self._process, self._pipe = process, process.stderr
        self._held, self._lock = deque[tuple[float, bytes]](maxlen=_LINES), threading.Lock()
        self._is_debugged = bool(os.environ.get(DEBUG))  # then everything is shown
        self._is_ready, self._last = self._is_debugged, b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def ready(self) -> None:
        """Notes that the process has started, and shows what it has said."""
        with self._lock:
            if not self._is_ready:
                self._is_ready, self._last = True, b""
                self._show()

    def last_words(self) -> str:
        """Returns the last line of a process that has ended before it was ready; "" if it had started, or said nothing."""
        self._thread.join(_SECONDS)
        with self._lock:
            text = last_line(self._last.decode("utf-8", "replace"))
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

    def _read(self) -> None:
        with self._pipe:
            descriptor, rest = self._pipe.fileno(), b""
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            while True:
                if poll.poll(1000 * _HELD_SECONDS if self._held and self._is_ready else None):
                    if not (read := os.read(descriptor, 2**16)):
                        break
                    *lines, rest = (rest + read).split(b"\n")
                    self._take([line + b"\n" for line in lines])
                with self._lock:
                    if self._is_ready:
                        self._show(time.monotonic() - _HELD_SECONDS)
            self._take([rest] if rest else [])
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS)
        with self._lock:
            if self._is_ready and (self._process.returncode or 0) >= 0:
                self._show()

    def _take(self, lines: list[bytes]) -> None:
        with self._lock:
            for line in lines:
                self._held.append((time.monotonic(), line))
                is_said = line.strip() and not _FRAME.match(line.decode("utf-8", "replace"))
                self._last = line if is_said and not self._is_ready else self._last
            if self._is_debugged:
                self._show()

    def _show(self, until: float = float("inf")) -> None:
        """Passes on what was held, up to a time; the caller has the lock."""
        while self._held and self._held[0][0] <= until:
            sys.stderr.write(self._held.popleft()[1].decode("utf-8", "replace"))
        sys.stderr.flush()
