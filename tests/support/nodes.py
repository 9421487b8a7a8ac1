"""An engine whose nodes answer as a test says."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import ClassVar

from flwr.app import Error, Message, RecordDict

Answer = Callable[[Message], RecordDict | Error]


class Nodes:
    """Nodes that answer each request with a content, or an error, of a test's."""

    one_vault = False
    faults: ClassVar[dict[str, int]] = {}

    def __init__(self, answer: Answer, nodes: Sequence[int] = (7,)) -> None:
        self._answer, self.nodes, self.asked = answer, nodes, list[Message]()

    def submit(self, messages: Sequence[Message], timeout: float | None) -> list[Future[Message]]:
        futures = [Future[Message]() for _ in messages]
        self.asked += messages
        for message, future in zip(messages, futures, strict=True):
            future.set_result(Message(self._answer(message), reply_to=message))
        return futures
