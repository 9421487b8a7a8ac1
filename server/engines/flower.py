"""Flower's grid as an engine: messages are pushed, and replies are polled until all have arrived or the timeout expires."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future

from flwr.app import Error, Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from fedlm.errors import FedLMError

_POLL_SECONDS = 0.1
_LOST = "The node's process was lost twice."
_LATE = "The node was not connected, or did not reply in time."


class FlowerEngine:
    """The nodes of a Flower grid, each message sent once.

    Args:
      grid: Flower's own.
      one_vault: whether all nodes open the same vault.

    Attributes:
      error: why no message will be answered any more; every future then raises it.
    """

    def __init__(self, grid: Grid, *, one_vault: bool = False) -> None:
        self.grid, self.one_vault = grid, one_vault
        self.error: FedLMError | None = None

    @property
    def nodes(self) -> list[int]:
        """The connected nodes, sorted by id."""
        return sorted(self.grid.get_node_ids())

    @property
    def faults(self) -> dict[str, int]:
        """Empty: this engine recovers no faults."""
        return {}

    def submit(self, messages: Sequence[Message], timeout: float | None) -> list[Future[Message]]:
        """Sends each message; see `Engine`. A thread waits for the replies."""
        futures: list[Future[Message]] = [Future() for _ in messages]
        threading.Thread(target=self._collect, args=(list(messages), futures, timeout), daemon=True).start()
        return futures

    def _collect(self, messages: list[Message], futures: list[Future[Message]], timeout: float | None) -> None:
        try:
            self._exchange(messages, futures, None if timeout is None else time.monotonic() + timeout)
        except Exception as error:  # noqa: BLE001 - raised again by the futures' readers
            for future in (f for f in futures if not f.done()):
                future.set_exception(error)

    def _exchange(self, messages: list[Message], futures: list[Future[Message]], end: float | None) -> None:
        """Resolves every future, with a reply or an error reply."""
        ids = list(self.grid.push_messages(messages))
        waiting = {
            i: place for place, i in enumerate(ids) if i
        }  # Flower returns no id for a message that it did not accept
        while waiting and (end is None or time.monotonic() < end):
            for reply in self.grid.pull_messages(list(waiting)):
                place = waiting.pop(reply.metadata.reply_to_message_id, None)
                if place is not None:
                    futures[place].set_result(_ours(messages[place], reply))
            if self.error is not None:
                raise self.error
            if waiting:
                time.sleep(_POLL_SECONDS)
        for message, future in zip(messages, futures, strict=True):
            if not future.done():
                future.set_result(late(message))


def _ours(message: Message, reply: Message) -> Message:
    """Returns the reply; a sentence of ours in place of the exception with which Flower reports a process that was lost."""
    if reply.has_error() and str(reply.error.reason).startswith("<class '"):
        return Message(Error(reply.error.code, _LOST), reply_to=message)
    return reply


def late(message: Message) -> Message:
    """Returns the error reply to a message whose node did not reply in time."""
    return Message(Error(ErrorCode.NODE_UNAVAILABLE, _LATE), reply_to=message)


def wait_for_nodes(engine: FlowerEngine, count: int, seconds: float) -> None:
    """Returns once `count` nodes are connected.

    Raises:
      FedLMError: fewer are connected after `seconds`.
    """
    end = time.monotonic() + seconds
    while len(engine.nodes) < count:
        if time.monotonic() > end:
            raise FedLMError(f"Fewer than {count} nodes connected within {seconds:.0f} s; see fedlm deploy status.")
        time.sleep(0.1)
