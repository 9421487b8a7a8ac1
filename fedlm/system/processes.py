"""Processes that a supervisor starts, watches and starts again; they die with it."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_RESTART_SECONDS = 1.0
MARK = "FEDLM_DEPLOYMENT"


class Child:
    """One process, started again whenever it has ended. Start and watch it from the main thread.

    Args:
      command: its words.
      log: the file that gets its output.
      environment: variables besides this process' own.
      before: called before each start, for instance to tidy up after a kill.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        before: Callable[[], object] | None = None,
    ) -> None:
        self._command, self._log, self._before = list(command), log, before
        self._environment = {**os.environ, **environment}
        self._started, self._logged = 0.0, 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def code(self) -> int | None:
        """The exit code with which it last ended; None if it runs or never did."""
        return None if self.process is None else self.process.poll()

    @property
    def output(self) -> str:
        """What it wrote since it was last started."""
        if self.process is None:
            return ""
        with self._log.open("rb") as log:
            log.seek(self._logged)
            return log.read().decode("utf-8", "replace")

    @property
    def last_words(self) -> str:
        """The last line of that."""
        return last_line(self.output)

    def watch(self) -> None:
        """Starts it if it does not run; at most once a second."""
        if self.alive or time.monotonic() - self._started < _RESTART_SECONDS:
            return
        if self._before is not None:
            self._before()
        with self._log.open("ab") as log:
            self._logged = log.tell()
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
                preexec_fn=die_with_parent if os.uname().sysname == "Linux" else None,
            )
        self._started = time.monotonic()

    def stop(self, seconds: float = 10.0) -> None:
        """Asks it to end, and ends it if it does not."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def last_line(text: str) -> str:
    """Returns the last line of a text that is not empty."""
    return next((line.strip() for line in reversed(text.split("\n")) if line.strip()), "")


def marked(deployment: Path) -> list[int]:
    """Returns the ids of the processes that were started for a deployment, found by their environment."""
    mark = f"{MARK}={deployment.resolve()}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue  # another user's, or gone
    return found


_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Asks the kernel to kill this process when the thread that started it ends; elsewhere than on Linux nothing happens."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
