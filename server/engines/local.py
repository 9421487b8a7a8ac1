"""Persistent worker processes on this machine: no Ray, no polling.

    server ---- one thread per worker: send, wait for the reply ----> worker 2, 3, ...   each with a channel (`clients/ipc`)

A worker that crashes is restarted, and its message is sent once more; a second crash becomes an error reply.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from flwr.app import Error, Message
from flwr.supercore.task_identity import TaskIdentity

from clients.ipc.channel import Placement
from clients.ipc.shared_memory import Segment
from fedlm.system.memory import keep_memory
from server.engines.base import Engine, Result, Tell
from server.engines.workers import STOP_SECONDS, Idle, Worker, WorkerCommand, WorkerEnd

RUN_ID = 1
_SERVER_NODE = 1
_WORKER_LOST = 0


def run(
    command: WorkerCommand, workers: int, body: Callable[[Engine], Result], tell: Tell, *, idle: Idle | None = None
) -> Result:
    """Runs a server's work over worker processes; see `server.engines.base.run_on`.

    `idle` provides workers that outlive the run, where one process starts many runs; see `LocalEngine`.
    """
    with LocalEngine(command, workers, idle, tell) as engine:
        return body(engine)


def take_identity() -> None:
    """Gives this process the identity of the server's task, without which Flower creates no messages (a private API)."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, RUN_ID, _SERVER_NODE


class LocalEngine:
    """Nodes are worker processes, numbered from 2 (1 is the server).

    Args:
      command: the vault and key that each worker opens.
      workers: the number of processes.
      idle: a pool that provides workers and takes them back; by default they are started here and stopped at the end.
      tell: gets a sentence when a worker is lost.

    Attributes:
      lost: the number of workers lost so far.
    """

    one_vault = True

    def __init__(
        self, command: WorkerCommand, workers: int, idle: Idle | None = None, tell: Tell = lambda _: None
    ) -> None:
        take_identity()
        keep_memory()
        take: Callable[[WorkerCommand, Segment | None], Worker] = Worker if idle is None else idle.take
        self._idle, self._closing, self._tell, self.lost = idle, False, tell, 0
        self._weights = Segment.create()
        self._workers, self._threads = dict[int, Worker](), dict[int, ThreadPoolExecutor]()
        self._waiting: set[Future[Message]] = set()
        try:
            for node in range(2, workers + 2):
                self._workers[node] = take(command, self._weights)
                # One thread per worker, so the messages to a worker are processed in order.
                self._threads[node] = ThreadPoolExecutor(1)
        except BaseException:  # no more files, or processes: what has begun must not keep them
            self.__exit__()
            raise

    def __enter__(self) -> "LocalEngine":
        return self

    def __exit__(self, *_: object) -> None:
        """Stops all workers; one that is still working on an abandoned message is killed."""
        self._closing = True
        for worker in self._workers.values():
            worker.channel.shut_down()
        for thread in self._threads.values():
            thread.shutdown()
        end = time.monotonic() + STOP_SECONDS
        for worker in self._workers.values():
            if self._idle is None:
                worker.stop(end - time.monotonic())
            else:
                self._idle.give(worker)
        if self._weights is not None:
            self._weights.close()

    @property
    def nodes(self) -> list[int]:
        """The workers' node ids."""
        return list(self._workers)

    @property
    def faults(self) -> dict[str, int]:
        """The number of workers lost so far, if any."""
        return {"lost_workers": self.lost} if self.lost else {}

    def submit(self, messages: Sequence[Message], timeout: float | None) -> list[Future[Message]]:
        """Sends each message to its worker, several to one worker in turn; see `Engine`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        # All workers share the weights' segment. It may be overwritten only if every earlier message has its reply and
        # every worker has released its lease; otherwise these messages carry their arrays through the sockets.
        is_free = all(future.done() for future in tuple(self._waiting))
        is_free = is_free and all(worker.channel.has_released for worker in self._workers.values())
        placement = Placement(messages, self._weights if is_free else None)
        futures = [self._threads[m.metadata.dst_node_id].submit(self._serve, m, placement, deadline) for m in messages]
        self._waiting.update(futures)
        for future in futures:
            future.add_done_callback(self._waiting.discard)
        return futures

    def _serve(self, message: Message, placement: Placement, deadline: float | None) -> Message:
        worker, ended = self._workers[message.metadata.dst_node_id], WorkerEnd("took too long")
        for _ in range(2):
            if self._is_over(deadline):
                break
            reply = worker.call(message, placement, deadline)
            if reply is not None:
                return reply
            ended = worker.end()
            if self._closing:
                break
            self.lost += 1
            self._tell(f"A worker {ended.how}: it is restarted, and its clients are trained again.")
            worker.channel.close()
            worker.start()
        return Message(
            Error(ended.code or _WORKER_LOST, f"The worker process was lost: it {ended.how}."), reply_to=message
        )

    def _is_over(self, deadline: float | None) -> bool:
        """Returns whether no further request may be sent to a worker."""
        return self._closing or (deadline is not None and time.monotonic() >= deadline)
