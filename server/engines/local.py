"""A Flower Grid over persistent worker processes of this machine: no Ray, no polling.

A worker that dies is started again and its message is sent once more; a second death becomes an error reply.
"""

import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from flwr.app import Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from clients.ipc.channel import Placement
from clients.ipc.shared_memory import Segment
from fedlm.system.memory import keep_memory
from server.engines.workers import STOP_SECONDS, Idle, Worker, WorkerCommand

RUN_ID = 1
_SERVER_NODE = 1
_WORKER_LOST = 0


def take_identity() -> None:
    """Makes this process the server's task: Flower builds messages for a task with an identity only (private to it)."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, RUN_ID, _SERVER_NODE


class LocalGrid(Grid):
    """Nodes are worker processes, numbered from 2 (1 is the server).

    Args:
      command: what each worker opens.
      workers: how many processes.
      idle: where they come from and go to; by default each is started here and stopped at the end.
      tell: gets a sentence when a worker is lost.

    Attributes:
      lost: workers that were, so far.
    """

    def __init__(
        self,
        command: WorkerCommand,
        workers: int,
        idle: Idle | None = None,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        take_identity()
        keep_memory()
        take: Callable[[WorkerCommand, Segment | None], Worker] = Worker if idle is None else idle.take
        self._idle, self._closing, self._tell, self.lost = idle, False, tell, 0
        self._weights = Segment.create()
        self._workers = {node: take(command, self._weights) for node in range(2, workers + 2)}
        self._pool = ThreadPoolExecutor(workers)
        self._replies: dict[str, Message] = {}

    def __enter__(self) -> "LocalGrid":
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

    def set_run(self, run: Run) -> None:
        """Nothing to set: the run is this process."""

    @property
    def run(self) -> Run:
        """An empty run with our id."""
        return Run.create_empty(RUN_ID)

    @property
    def faults(self) -> dict[str, int]:
        """How many workers were lost so far, if any was."""
        return {"lost_workers": self.lost} if self.lost else {}

    def get_node_ids(self) -> Iterable[int]:
        """Returns the workers' node ids."""
        return list(self._workers)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Returns a message to a worker."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Sends messages and keeps their replies for `pull_messages`."""
        sent = list(messages)
        identities = [uuid.uuid4().hex for _ in sent]
        self._replies.update(zip(identities, self.send_and_receive(sent), strict=True))
        return identities

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Returns the replies of messages that were pushed."""
        return [self._replies.pop(i) for i in message_ids if i in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Sends each message to its worker, several to one worker in turn, and returns all replies in order."""
        deadline = None if timeout is None else time.monotonic() + timeout
        sent = list(messages)
        by_node: dict[int, list[int]] = {}
        for place, message in enumerate(sent):
            by_node.setdefault(message.metadata.dst_node_id, []).append(place)
        replies: dict[int, Message] = {}
        is_free = all(worker.channel.has_released for worker in self._workers.values())
        placement = Placement(sent, self._weights if is_free else None)

        def serve(node: int) -> None:
            for place in by_node[node]:
                replies[place] = self._serve(self._workers[node], sent[place], placement, deadline)

        list(self._pool.map(serve, by_node))
        return [replies[place] for place in range(len(sent))]

    def _serve(self, worker: Worker, message: Message, placement: Placement, deadline: float | None) -> Message:
        for _ in range(2):
            reply = worker.call(message, placement, deadline)
            if reply is not None:
                return reply
            how = worker.end()
            if self._closing:
                break
            self.lost += 1
            self._tell(f"A worker {how}; it is started anew, and its clients are trained again.")
            worker.channel.close()
            worker.start()
            # A worker that was started while the grid closes is hung up on by `__exit__`, or is not called any more.
            if self._closing or (deadline is not None and time.monotonic() >= deadline):
                break
        return Message(Error(_WORKER_LOST, "The worker process was lost or took too long."), reply_to=message)
