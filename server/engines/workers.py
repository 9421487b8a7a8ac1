"""Worker processes on this machine: those of one engine, and those that a study keeps for many short runs."""

import json
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flwr.app import Message

from clients.ipc.channel import Channel, Placement
from clients.ipc.shared_memory import Segment
from fedlm.system.listening import StartupErrors
from fedlm.system.processes import Process, child_environment, end, how_it_ended, module_command, start
from fedlm.system.shortage import limits_named

STOP_SECONDS = 5.0


@dataclass(frozen=True)
class WorkerCommand:
    """The vault and key that a worker process opens."""

    vault: Path
    key_file: Path | None = None
    passphrase_env: str | None = None
    key_provider: str | None = None

    def arguments(self, channel: Sequence[int]) -> list[str]:
        """Returns the worker's command line; `channel` lists the descriptors of its channel."""
        return module_command("clients.worker", "--channel", *channel, *self.options())

    def options(self) -> list[str]:
        """Returns the part of the command line that names vault and key."""
        words = ["--vault", str(self.vault.absolute())]  # a kept worker may have started in another folder
        if self.key_file is not None:
            words += ["--key-file", str(self.key_file.absolute())]
        if self.passphrase_env is not None:
            words += ["--passphrase-env", self.passphrase_env]
        if self.key_provider is not None:
            words += ["--key-provider", self.key_provider]
        return words


@dataclass(frozen=True)
class WorkerEnd:
    """How a worker ended that sent no reply.

    Attributes:
      how: goes on from "a worker".
      code: of an error of ours because of which it did not start; 0 for any other end.
    """

    how: str
    code: int = 0


def _listened(
    command: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int]
) -> tuple[Process, StartupErrors]:
    """Starts a process with these descriptors and listens to its stderr; one that nobody can listen to does not stay."""
    process = start(command, environment, pass_fds=descriptors, errors=True)
    try:
        return process, StartupErrors(process)
    except BaseException:
        end(process, 0.0)
        raise


class Worker:
    """A worker process and the channel to it.

    Args:
      command: the vault and key that it opens.
      weights: the shared-memory segment from which it reads weights.
    """

    def __init__(self, command: WorkerCommand, weights: Segment | None) -> None:
        self._command, self._weights = command, weights
        self.start()

    def start(self) -> None:
        """Starts the process, or starts it again."""
        with Channel.opened(self._weights) as (self.channel, theirs):
            command, environment = self._command.arguments(theirs), child_environment(huge_pages=True)
            self.process, self.errors = _listened(command, environment, theirs)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Closes the channel, which ends the process; it is killed if that takes longer than `seconds`."""
        self.channel.close()
        end(self.process, seconds)

    def end(self) -> "WorkerEnd":
        """Ends a process that sent no reply; returns what happened to it."""
        code = end(self.process, 1.0)
        if code is None:
            return WorkerEnd("took too long and was stopped")
        said = self.errors.last_words()
        if code < 0 and code != -signal.SIGKILL:  # native code gave up
            return WorkerEnd(f"{how_it_ended(code)}{limits_named()}" + (f": {said.removesuffix('.')}" if said else ""))
        if said:
            return WorkerEnd(f"did not start: {said.removesuffix('.')}", code)
        return WorkerEnd(how_it_ended(code))

    def call(self, message: Message, placement: Placement, deadline: float | None) -> Message | None:
        """Returns the reply; None if the process was lost or took too long."""
        try:
            timeout = None if deadline is None else max(deadline - time.monotonic(), 0.001)
            reply = self.channel.request(message, placement, timeout)
        except OSError:
            return None
        if reply is not None:
            self.errors.ready()
        return reply


class Idle(Protocol):
    """A pool of workers that outlive an engine."""

    def take(self, command: WorkerCommand, weights: Segment | None) -> Worker:
        """Returns a worker that has opened the command's vault and reads weights from the segment."""

    def give(self, worker: Worker) -> None:
        """Takes a worker back."""


class KeptWorker(Worker):
    """A worker that opens one vault after another, sent over a control socket, each with a separate channel."""

    def __init__(self, command: WorkerCommand, weights: Segment | None) -> None:
        self._launch()
        super().__init__(command, weights)

    def open(self, command: WorkerCommand, weights: Segment | None) -> None:
        """Opens another vault in the worker; the previous one is closed."""
        self._command, self._weights = command, weights
        self.start()

    def start(self) -> None:
        """Starts the process unless it is running, and opens a channel for the vault."""
        if self.process.poll() is not None:
            self._relaunch()
        try:
            self._hand_over()
        except OSError:  # it has just crashed
            self._relaunch()
            self._hand_over()

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ends the process; it is killed if that takes longer than `seconds`."""
        self._control.close()
        super().stop(seconds)

    def _hand_over(self) -> None:
        with Channel.opened(self._weights) as (self.channel, theirs):
            socket.send_fds(self._control, [json.dumps(self._command.options()).encode()], theirs)

    def _relaunch(self) -> None:
        self._control.close()
        self._launch()

    def _launch(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = module_command("clients.worker", "--control", theirs.fileno())
            descriptors = [theirs.fileno()]
            environment = child_environment(huge_pages=True)
            self.process, self.errors = _listened(command, environment, descriptors)


class KeptWorkers:
    """The workers of a study, each leased to one engine at a time; the methods are thread-safe.

    A study of many short runs thus loads TensorFlow and compiles its model once per core.
    """

    def __init__(self) -> None:
        self._idle: list[KeptWorker] = []
        self._lock = threading.Lock()

    @property
    def waiting(self) -> tuple[KeptWorker, ...]:
        """The workers that are not leased."""
        return tuple(self._idle)

    def __enter__(self) -> "KeptWorkers":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            for worker in self._idle:
                worker.stop()
            self._idle.clear()

    def take(self, command: WorkerCommand, weights: Segment | None) -> Worker:
        """Leases an idle worker with the command's vault open, or a new one."""
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker is None:
            return KeptWorker(command, weights)
        worker.open(command, weights)
        return worker

    def give(self, worker: Worker) -> None:
        """Takes back a worker that an engine has released, and closes its vault."""
        if not isinstance(worker, KeptWorker):
            raise TypeError(f"Expected a KeptWorker, not a {type(worker).__name__}.")
        worker.channel.close()
        with self._lock:
            self._idle.append(worker)
