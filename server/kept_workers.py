"""Worker processes that outlive a run: a study of many short runs loads TensorFlow and compiles its model once a core.

Each run still has a channel of its own, and a worker has one vault open at a time.
"""

import json
import socket
import subprocess
import sys
import threading

from clients.channel import Channel
from clients.memory import worker_environment
from clients.room import Room
from server.local_grid import STOP_SECONDS, Worker, WorkerCommand


class KeptWorker(Worker):
    """A worker that is handed one vault after the other, each with a channel of its own, over a control socket."""

    process: subprocess.Popen[bytes] | None = None  # type: ignore[assignment]
    _control: socket.socket | None = None

    def open(self, command: WorkerCommand, weights: Room | None) -> None:
        """Hands it another vault; the one before is closed."""
        self._command, self._weights = command, weights
        self.start()

    def start(self) -> None:
        """Starts the process unless it runs, and opens a channel to it for the vault."""
        if self.process is None or self.process.poll() is not None:
            self._launch()
        try:
            self._hand_over()
        except OSError:  # it died unseen
            self._launch()
            self._hand_over()

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ends the process; it is killed if that takes longer than `seconds`."""
        assert self._control is not None
        self._control.close()
        super().stop(seconds)

    def _hand_over(self) -> None:
        assert self._control is not None
        with Channel.opened(self._weights) as (self.channel, theirs):
            socket.send_fds(self._control, [json.dumps(self._command.options()).encode()], theirs)

    def _launch(self) -> None:
        if self._control is not None:
            self._control.close()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "clients.worker", "--control", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=worker_environment(),
                start_new_session=True,
            )


class KeptWorkers:
    """The workers of a study, lent to one grid at a time; any thread may ask."""

    def __init__(self) -> None:
        self._idle: list[KeptWorker] = []
        self._lock = threading.Lock()

    @property
    def waiting(self) -> tuple[KeptWorker, ...]:
        """The workers that no grid has."""
        return tuple(self._idle)

    def __enter__(self) -> "KeptWorkers":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            for worker in self._idle:
                worker.stop()
            self._idle.clear()

    def take(self, command: WorkerCommand, weights: Room | None) -> Worker:
        """Returns an idle worker with the command's vault open, or a new one."""
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker is None:
            return KeptWorker(command, weights)
        worker.open(command, weights)
        return worker

    def give(self, worker: Worker) -> None:
        """Takes a worker back; its vault is closed."""
        assert isinstance(worker, KeptWorker)
        worker.channel.close()
        with self._lock:
            self._idle.append(worker)
