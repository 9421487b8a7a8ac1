"""Flower's grid without a network: the nodes are functions of a test's."""

import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

RUN = 5


class MemoryGrid(Grid):
    """A grid whose nodes answer at once.

    Args:
      answer: returns the replies to a message: one, none if it is lost, or several.
      nodes: their ids.

    Attributes:
      sent: the messages that were pushed, in order.
      activated: since when all nodes are online; another time means that they were restarted.
    """

    def __init__(self, answer: Callable[[Message], Iterable[Message]], nodes: Sequence[int]) -> None:
        self._answer, self._nodes = answer, list(nodes)
        self.sent: list[Message] = []
        self.activated = "first"
        self._replies: list[Message] = []
        self._lock = threading.Lock()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = uuid.uuid4().hex
            with self._lock:
                self.sent.append(message)
                self._replies += self._answer(message)
            ids.append(message.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Returns the replies to these messages, the last one first: a network keeps no order."""
        asked = set(message_ids)
        with self._lock:
            found = [r for r in self._replies if r.metadata.reply_to_message_id in asked]
            self._replies = [r for r in self._replies if r.metadata.reply_to_message_id not in asked]
        return found[::-1]

    def get_nodes(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(node_id=node, last_activated_at=self.activated, public_key=b"key %d" % node)
            for node in self._nodes
        ]

    def get_node_ids(self) -> Iterable[int]:
        return self._nodes

    def set_run(self, run: Run) -> None: ...

    @property
    def run(self) -> Run:
        return Run.create_empty(RUN)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        raise NotImplementedError  # engines make messages themselves

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise NotImplementedError  # engines push and pull
