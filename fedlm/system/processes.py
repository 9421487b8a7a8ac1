"""Child processes: one command line, one clean environment, one way to start them, and a supervisor of each."""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from fedlm.errors import FedLMError
from fedlm.plugins.path import PATH, passed_on
from fedlm.system.environment import clean
from fedlm.system.files import is_private, replacing
from fedlm.system.start import start_command

Process = subprocess.Popen[bytes]
StillRunning = subprocess.TimeoutExpired  # of `Process.wait`
MARK = "FEDLM_DEPLOYMENT"  # the environment variable that names the deployment a process was started for
DEBUG = "FEDLM_DEBUG"  # the environment variable with which processes on the user's own machine show tracebacks
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_TUNABLES, _HUGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
_RESTART_SECONDS = 1.0
_FAILURES = 5  # to start, in a row and with the same last line: another attempt would fail, too
_LOG_BYTES = 2**23


def module_command(module: str, *arguments: object) -> list[str]:
    """Returns the command that runs a module of this fedlm under this interpreter, whatever else has its name."""
    return [*start_command(module), *map(str, arguments)]


def child_environment(more: Mapping[str, str] | None = None, *, huge_pages: bool = False) -> dict[str, str]:
    """Returns the variables of a child process: this process' own, as `environment.clean` leaves them.

    A child has one thread for linear algebra, because we start one for each processor. It finds
    the modules that this process finds, those of a user's own after all that are installed.

    Args:
      more: variables that come on top.
      huge_pages: for a process that trains. A training step goes through some 40 MB, which lie in
        pages of 2 MB then; glibc reads this at the start of a process. What the caller asks of
        glibc stays as it is.
    """
    tunables = {_TUNABLES: os.environ.get(_TUNABLES, _HUGE_PAGES)} if huge_pages else {}
    return {**clean(os.environ), **_ONE_THREAD, **tunables, PATH: passed_on(), **(more or {})}


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    log: Path | None = None,
    pass_fds: Collection[int] = (),
    piped: bool = False,
    errors: bool = False,
    dies_with_parent: bool = False,
) -> Process:
    """Starts a process in a new session, so that Ctrl-C at a terminal reaches its parent only.

    Args:
      command: its words, see `module_command`.
      environment: all its variables, see `child_environment`.
      log: the file that its output is appended to; by default it goes where this process' output goes.
      pass_fds: descriptors that it inherits under the same numbers.
      piped: connect stdin and stdout with pipes; by default stdin is empty.
      errors: connect stderr with a pipe, for `listening.StartupErrors`.
      dies_with_parent: have Linux kill it when the *thread* that starts it ends: only for a thread
        that lives as long as the process shall. Elsewhere nothing happens.
    """
    with contextlib.ExitStack() as opened:
        output = None if log is None else opened.enter_context(log.open("ab"))
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else output,
            stderr=subprocess.PIPE if errors else output,
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


def how_it_ended(code: int) -> str:
    """Returns what an exit code says, as the end of a sentence.

    >>> how_it_ended(1), how_it_ended(-9)
    ('crashed (exit code 1)', 'was killed by signal 9 (out of memory?)')
    """
    if code >= 0:
        return f"crashed (exit code {code})"
    return f"was killed by signal {-code}" + (" (out of memory?)" if code == -signal.SIGKILL else "")


class Child:
    """One supervised process, which is restarted whenever it has ended. Start and watch it from the main thread.

    Args:
      command: its words.
      log: the file that gets its output.
      environment: all its variables, see `child_environment`.
      before: called before each start, for instance to tidy up after a kill.
      say: gets a sentence when it has ended before it was ready.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        before: Callable[[], object] | None = None,
        say: Callable[[str], object] = lambda sentence: None,
    ) -> None:
        self._command, self._log, self._before, self._say = list(command), log, before, say
        self._environment = dict(environment)
        self._started, self._logged = 0.0, 0
        self._is_ready, self._failures, self._last_words = False, 0, ""
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

    def ready(self) -> None:
        """Notes that the process does its work: its end is no failure to start."""
        self._is_ready, self._failures = True, 0

    def watch(self) -> None:
        """Starts the process if it is not running; at most once per second.

        Raises:
          FedLMError: it has ended in one way several times before it was ready, with its last line.
        """
        if self.alive or time.monotonic() - self._started < _RESTART_SECONDS:
            return
        self._note_end()
        if self._before is not None:
            self._before()
        rotate_log(self._log)
        self._logged = self._log.stat().st_size if self._log.is_file() else 0
        self.process = start(self._command, self._environment, log=self._log, dies_with_parent=True)
        self._started, self._is_ready = time.monotonic(), False

    def _note_end(self) -> None:
        if self._is_ready or not self.code or self.code < 0:  # a signal comes from elsewhere
            return
        words = last_line(self.output) or how_it_ended(self.code)
        self._failures = self._failures + 1 if words == self._last_words else 1
        self._last_words = words
        sentence = f"{self._log.stem} did not start: {words.removesuffix('.')}"
        if self._failures >= _FAILURES:
            raise FedLMError(f"{sentence} ({self._failures} times; see {self._log}).")
        if self._failures == 1:
            self._say(f"{sentence}; trying again")

    def stop(self, seconds: float = 10.0) -> None:
        """Asks it to end, and kills it if it does not."""
        if self.process is not None:
            self.process.terminate()
            end(self.process, seconds)


def rotate_log(log: Path, max_bytes: int = _LOG_BYTES) -> None:
    """Moves the content of a log that has grown too large to NAME.1, in place of an older one.

    The file itself stays: a process that appends to it goes on at its new end.
    """
    if not log.is_file() or log.stat().st_size <= max_bytes:
        return
    with replacing(log.with_name(f"{log.name}.1"), private=is_private(log)) as older:
        shutil.copyfile(log, older)
        os.truncate(log, 0)


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
