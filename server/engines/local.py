"""Persistent worker processes of this machine: no Ray, no polling.

A worker that dies is started again and its message is sent once more; a second death becomes an error reply.
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
from server.engines.workers import STOP_SECONDS, Idle, Worker, WorkerCommand

RUN_ID = 1
_SERVER_NODE = 1
_WORKER_LOST = 0


def run(command: WorkerCommand, workers: int, body: Callable[[Engine], Result], tell: Tell) -> Result:
    """Runs a server's work over worker processes; see `server.engines.base.run_on`."""
    with LocalEngine(command, workers, tell=tell) as engine:
        return body(engine)


def take_identity() -> None:
    """Makes this process the server's task: Flower builds messages for a task with an identity only (private to it)."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, RUN_ID, _SERVER_NODE


class LocalEngine:
    """Nodes are worker processes, numbered from 2 (1 is the server).

    Args:
      command: what each worker opens.
      workers: how many processes.
      idle: where they come from and go to; by default each is started here and stopped at the end.
      tell: gets a sentence when a worker is lost.

    Attributes:
      lost: workers that were, so far.
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
        self._workers = {node: take(command, self._weights) for node in range(2, workers + 2)}
        self._pool = ThreadPoolExecutor(workers)

    def __enter__(self) -> "LocalEngine":
        return self

    def __exit__(self, *_: object) -> None:
        """Ends all workers at once; one that still works for a round which nobody waits for any more is killed."""
        self._closing = True
        for worker in self._workers.values():
            worker.channel.shut_down()
        self._pool.shutdown(cancel_futures=True)
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
        """How many workers were lost so far, if any was."""
        return {"lost_workers": self.lost} if self.lost else {}

    def submit(self, messages: Sequence[Message], timeout: float | None) -> list[Future[Message]]:
        """Sends each message to its worker, several to one worker in turn; see `Engine`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        futures: list[Future[Message]] = [Future() for _ in messages]
        by_node: dict[int, list[int]] = {}
        for place, message in enumerate(messages):
            by_node.setdefault(message.metadata.dst_node_id, []).append(place)
        is_free = all(worker.channel.has_released for worker in self._workers.values())
        placement = Placement(messages, self._weights if is_free else None)

        def serve(node: int) -> None:
            for place in by_node[node]:
                try:
                    reply = self._serve(self._workers[node], messages[place], placement, deadline)
                    futures[place].set_result(reply)
                except BaseException as error:  # noqa: BLE001 - it is raised again where the future is read
                    futures[place].set_exception(error)

        for node in by_node:
            self._pool.submit(serve, node)
        return futures

    def _serve(self, worker: Worker, message: Message, placement: Placement, deadline: float | None) -> Message:
        for _ in range(2):
            reply = worker.call(message, placement, deadline)
            if reply is not None:
                return reply
            how = worker.end()
            if self._closing:
                break
            self.lost += 1
            self._tell(f"A worker {how}. It is restarted, and its clients are trained again.")
            worker.channel.close()
            worker.start()
            # A worker that was started while the engine closes is hung up on by `__exit__`, or is not called any more.
            if self._closing or (deadline is not None and time.monotonic() >= deadline):
                break
        return Message(Error(_WORKER_LOST, "The worker process was lost or took too long."), reply_to=message)
