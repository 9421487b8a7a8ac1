"""A Grid for real networks: chunks carry run, round, id and attempt, are sent again, and the first reply counts."""

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from fedlm.errors import ConfigError, FedLMError
from fedlm.messages.records import config_in, records_in

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
        """Whether nothing came for long: a message or reply that was under way when a connection broke is lost.

        The wait doubles with each attempt; a node that still works answers the second message from what it keeps.
        """
        doublings = max(self.attempt - 1, 0)
        return time.monotonic() > self.sent_at + _SILENCE_SECONDS * float(2**doublings)


class PatientGrid(Grid):
    """Wraps Flower's grid.

    Args:
      grid: Flower's own.

    Attributes:
      resent: chunks that went out again.
      refused: replies that were not those of their chunk, or came a second time.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._session = uuid.uuid4().hex  # a reply to an earlier ServerApp of the same run does not count
        self._count = self.resent = self.refused = 0

    @property
    def faults(self) -> dict[str, int]:
        """How many chunks were sent again, and replies refused, so far."""
        return {"resent": self.resent, "refused": self.refused}

    def set_run(self, run: Run) -> None:
        """Sets the run."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """Flower's run."""
        return self._grid.run

    def get_node_ids(self) -> Iterable[int]:
        """Returns the nodes that are connected."""
        return sorted(self._grid.get_node_ids())

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Returns a message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Sends messages once, as Flower's grid does."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Returns replies, as Flower's grid does."""
        return self._grid.pull_messages(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Sends every message until it has a reply, is refused for good, or the time is over; replies in order."""
        end = None if timeout is None else time.monotonic() + timeout
        chunks = [self._chunk(m) for m in messages]
        looked = 0.0
        while any(c.reply is None for c in chunks) and (end is None or time.monotonic() < end):
            if time.monotonic() - looked > _LOOK_SECONDS:
                self._send(chunks)
                looked = time.monotonic()
            self._receive(chunks)
            time.sleep(_POLL_SECONDS)
        late = "The node was not there, or did not answer in time."
        return [c.reply or Message(Error(ErrorCode.NODE_UNAVAILABLE, late), reply_to=c.message) for c in chunks]

    def _chunk(self, message: Message) -> _Chunk:
        self._count += 1
        return _Chunk(f"{self._session}-{self._count}", message)

    def _activations(self) -> dict[int, str]:
        """Returns, for every node that is connected, since when it is."""
        nodes = cast(Any, self._grid).get_nodes()
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
        config_in(content).update({"run": str(self.run.run_id), "chunk": chunk.name, "attempt": chunk.attempt})
        chunk.message = Message(content, meta.dst_node_id, meta.message_type, group_id=meta.group_id)
        sent = [i for i in self._grid.push_messages([chunk.message]) if i]
        chunk.ids.update(sent)
        chunk.wants_sending = not sent

    def _receive(self, chunks: list[_Chunk]) -> None:
        waiting = {i: c for c in chunks if c.reply is None for i in c.ids}
        for reply in self._grid.pull_messages(set(waiting)) if waiting else []:
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
        echo = records_in(reply.content, ConfigRecord).get("echo", ConfigRecord())
        if (echo.get("run"), echo.get("chunk")) != (str(self.run.run_id), chunk.name):
            self.refused += 1
            refusal = "The node's reply was not to this message; it was refused."
            reply = Message(Error(ErrorCode.REPLY_MESSAGE_UNAVAILABLE, refusal), reply_to=chunk.message)
        chunk.reply = reply


def wait_for_nodes(grid: Grid, count: int, seconds: float) -> None:
    """Returns once `count` nodes are connected.

    Raises:
      FedLMError: fewer are there after `seconds`.
    """
    end = time.monotonic() + seconds
    while len(list(grid.get_node_ids())) < count:
        if time.monotonic() > end:
            raise FedLMError(f"Not all {count} nodes are connected in {seconds:.0f} s; see fedlm deploy status.")
        time.sleep(0.1)
