"""An engine for real networks: a chunk carries run, name and attempt, is sent again, and its first reply counts."""

import itertools
import time
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, cast

from flwr.app import Error, Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from fedlm.errors import ConfigError
from fedlm.messages.delivery import Delivery
from server.engines.flower import FlowerEngine, late

_POLL_SECONDS, _LOOK_SECONDS = 0.25, 2.0
_SILENCE_SECONDS = 60.0
_MAX_ERRORS = 3


@dataclass
class _Chunk:
    """One message that wants one reply.

    Attributes:
      ids: Flower's ids of all attempts.
      activated: when the node had come online, at the last attempt; another time means that it was started anew.
      sent_at: `time.monotonic()` of the last attempt.
    """

    name: str
    message: Message
    attempt: int = 0
    errors: int = 0
    ids: set[str] = field(default_factory=set)
    activated: str | None = None
    sent_at: float = 0.0
    wants_sending: bool = True
    reply: Message | None = None

    @property
    def is_silent(self) -> bool:
        """Whether nothing came for long: a message or reply in transit when a connection broke is lost.

        The wait doubles with each attempt; a node that is still at work answers the second message from its kept reply.
        """
        doublings = max(self.attempt - 1, 0)
        return time.monotonic() > self.sent_at + _SILENCE_SECONDS * float(2**doublings)


class NetworkEngine(FlowerEngine):
    """Nodes of a deployment.

    Args:
      grid: Flower's own.

    Attributes:
      resent: chunks that were sent again.
      refused: replies that were not to their chunk, or came a second time.
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid)
        self._session = uuid.uuid4().hex  # a reply to an earlier ServerApp of the same run does not count
        self._numbers = itertools.count(1)  # exchanges may run side by side: each name is given once
        self.resent = self.refused = 0

    @property
    def faults(self) -> dict[str, int]:
        """How many chunks were sent again, and replies refused, so far."""
        return {"resent": self.resent, "refused": self.refused}

    def _exchange(self, messages: list[Message], futures: list[Future[Message]], end: float | None) -> None:
        """Sends every message until it has a reply, is refused for good, or the time is over."""
        chunks = [self._chunk(m) for m in messages]
        looked = 0.0
        while any(c.reply is None for c in chunks) and (end is None or time.monotonic() < end):
            if time.monotonic() - looked > _LOOK_SECONDS:
                self._send(chunks)
                looked = time.monotonic()
            self._receive(chunks)
            _resolve(chunks, futures)
            time.sleep(_POLL_SECONDS)
        for chunk in chunks:
            chunk.reply = chunk.reply or late(chunk.message)
        _resolve(chunks, futures)

    def _delivery(self, chunk: _Chunk) -> Delivery:
        return Delivery(str(self.grid.run.run_id), chunk.name, chunk.attempt)

    def _chunk(self, message: Message) -> _Chunk:
        return _Chunk(f"{self._session}-{next(self._numbers)}", message)

    def _activations(self) -> dict[int, str]:
        """Returns, for every node that is connected, since when it is."""
        nodes = cast(Any, self.grid).get_nodes()
        return {n.node_id: str(n.last_activated_at) for n in nodes}

    def _send(self, chunks: list[_Chunk]) -> None:
        """Sends what was never sent, what came back as lost, and what a node that was started anew has forgotten."""
        activations = self._activations()
        for chunk in chunks:
            there = activations.get(chunk.message.metadata.dst_node_id)
            wanted = chunk.wants_sending or there != chunk.activated or chunk.is_silent
            if chunk.reply is None and there is not None and wanted:
                chunk.activated = there
                self._send_one(chunk)

    def _send_one(self, chunk: _Chunk) -> None:
        chunk.attempt, chunk.sent_at = chunk.attempt + 1, time.monotonic()
        self.resent += chunk.attempt > 1
        meta, content = chunk.message.metadata, chunk.message.content
        self._delivery(chunk).stamp(content)
        chunk.message = Message(content, meta.dst_node_id, meta.message_type, group_id=meta.group_id)
        sent = [i for i in self.grid.push_messages([chunk.message]) if i]
        chunk.ids.update(sent)
        chunk.wants_sending = not sent

    def _receive(self, chunks: list[_Chunk]) -> None:
        waiting = {i: c for c in chunks if c.reply is None for i in c.ids}
        for reply in self.grid.pull_messages(set(waiting)) if waiting else []:
            chunk = waiting.get(reply.metadata.reply_to_message_id)
            if chunk is None or chunk.reply is not None:
                self.refused += 1
                continue
            chunk.ids.discard(reply.metadata.reply_to_message_id)
            self._take(chunk, reply)

    def _take(self, chunk: _Chunk, reply: Message) -> None:
        if reply.has_error():
            chunk.errors += reply.error.code != ErrorCode.NODE_UNAVAILABLE
            if reply.error.code == ConfigError.exit_code or chunk.errors >= _MAX_ERRORS:
                chunk.reply = reply
            chunk.wants_sending = not chunk.ids
            return
        if not self._delivery(chunk).is_echoed(reply.content):
            self.refused += 1
            refusal = "The node's reply was not to this message, so it was refused."
            reply = Message(Error(ErrorCode.REPLY_MESSAGE_UNAVAILABLE, refusal), reply_to=chunk.message)
        chunk.reply = reply


def _resolve(chunks: list[_Chunk], futures: list[Future[Message]]) -> None:
    """Sets the results of the chunks that have a reply by now."""
    for chunk, future in zip(chunks, futures, strict=True):
        if chunk.reply is not None and not future.done():
            future.set_result(chunk.reply)
