"""Child processes: one command line, one clean environment, one way to start them, and a supervisor of each."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

Process = subprocess.Popen[bytes]
MARK = "FEDLM_DEPLOYMENT"  # the environment variable that names the deployment a process was started for
_QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1"}
_TUNABLES, _HUGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
_RESTART_SECONDS = 1.0


def module_command(module: str, *arguments: object) -> list[str]:
    """Returns the command that runs a module of the installed package under this interpreter.

    `-P` keeps the current folder off the module path: a file there that is named like a module of
    ours is never run.
    """
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def child_environment(more: Mapping[str, str] | None = None, *, huge_pages: bool = False) -> dict[str, str]:
    """Returns the variables of a child process: this process' own, Flower's telemetry and package installation off.

    Args:
      more: variables that come on top.
      huge_pages: for a process that trains. A training step goes through some 40 MB, which lie in
        pages of 2 MB then; glibc reads this at the start of a process. What the caller asks of
        glibc stays as it is.
    """
    tunables = {_TUNABLES: os.environ.get(_TUNABLES, _HUGE_PAGES)} if huge_pages else {}
    return {**os.environ, **tunables, **_QUIET, **(more or {})}


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    log: Path | None = None,
    pass_fds: Collection[int] = (),
    piped: bool = False,
    dies_with_parent: bool = False,
) -> Process:
    """Starts a process in a new session, so that Ctrl-C at a terminal reaches its parent only.

    Args:
      command: its words, see `module_command`.
      environment: all its variables, see `child_environment`.
      log: the file that its output is appended to; by default it goes where this process' output goes.
      pass_fds: descriptors that it inherits under the same numbers.
      piped: connect stdin and stdout with pipes; by default stdin is empty.
      dies_with_parent: have Linux kill it when the *thread* that starts it ends: only for a thread
        that lives as long as the process shall. Elsewhere nothing happens.
    """
    with contextlib.ExitStack() as opened:
        output = None if log is None else opened.enter_context(log.open("ab"))
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else output,
            stderr=output,
            env=dict(environment),
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=die_with_parent if dies_with_parent and sys.platform == "linux" else None,
        )


def end(process: Process, seconds: float) -> int | None:
    """Waits for a process that was asked to stop; returns its exit code, or None if it took longer and was killed."""
    try:
        return process.wait(max(seconds, 0.0))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


class Child:
    """One supervised process, which is restarted whenever it has ended. Start and watch it from the main thread.

    Args:
      command: its words.
      log: the file that gets its output.
      environment: all its variables, see `child_environment`.
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
        self._environment = dict(environment)
        self._started, self._logged = 0.0, 0
        self.process: Process | None = None

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

    def watch(self) -> None:
        """Starts the process if it is not running; at most once per second."""
        if self.alive or time.monotonic() - self._started < _RESTART_SECONDS:
            return
        if self._before is not None:
            self._before()
        self._logged = self._log.stat().st_size if self._log.is_file() else 0
        self.process = start(self._command, self._environment, log=self._log, dies_with_parent=True)
        self._started = time.monotonic()

    def stop(self, seconds: float = 10.0) -> None:
        """Asks it to end, and kills it if it does not."""
        if self.process is not None:
            self.process.terminate()
            end(self.process, seconds)


def last_line(text: str) -> str:
    """Returns the last line of a text that is not empty."""
    return next((line.strip() for line in reversed(text.split("\n")) if line.strip()), "")


def marked(deployment: Path) -> list[int]:
    """Returns the ids of the processes that were started for a deployment, found by MARK in their environment (Linux)."""
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


_PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent() -> None:
    """Asks the kernel to kill this process when the thread that started it ends; outside Linux nothing happens."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
