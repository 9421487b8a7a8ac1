"""An engine for real networks: at-least-once delivery, and the first valid reply to a chunk counts.

    send    a chunk, stamped with (run, chunk, attempt)
    resend  if it could not be sent, if it came back as lost, if its node has reconnected, or after a silence of
            60 s * 2**(attempt - 1)
    accept  a reply whose echo names this run and chunk; later replies are counted as refused
    wait    while a node's owner has not yet accepted the run
    give up after three errors, at a refusal by the node's policy, or at the timeout

Sending again is safe: a node answers a chunk that it has just finished from its kept reply (`clients/guard.py`).
"""

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import uuid4

from flwr.app import Error, Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from fedlm.errors import ConfigError
from fedlm.messages.delivery import Delivery
from fedlm.messages.refusals import WAITS, TooFewError
from server.engines.flower import FlowerEngine, late

_POLL_SECONDS, _LOOK_SECONDS = 0.25, 2.0
_SILENCE_SECONDS = 60.0
_OWNER_SECONDS = 2.0
_MAX_ERRORS = 3


@dataclass
class _Chunk:
    """One message, and the state of its delivery.

    Attributes:
      ids: Flower's ids of all attempts.
      activated: since when the node was online at the last attempt; a later time means that it has restarted.
      sent_at: `time.monotonic()` of the last attempt.
      waits_until: when to ask a node again whose owner has not yet accepted the run.
    """

    name: str
    message: Message
    attempt: int = 0
    errors: int = 0
    ids: set[str] = field(default_factory=set)
    activated: str | None = None
    sent_at: float = 0.0
    wants_sending: bool = True
    waits_until: float = 0.0
    reply: Message | None = None

    @property
    def is_silent(self) -> bool:
        """Whether there has been no reply for a long time: a message in transit is lost when its connection breaks.

        The wait doubles with each attempt. A node that is still working answers the second message from its kept reply.
        """
        doublings = max(self.attempt - 1, 0)
        return time.monotonic() > self.sent_at + _SILENCE_SECONDS * float(2**doublings)


class NetworkEngine(FlowerEngine):
    """Nodes of a deployment.

    Args:
      grid: Flower's own.
      run: the run's id in every message; it stays the same when the run is resumed.
      tell: gets a sentence when nodes begin or cease to wait for their owners.

    Attributes:
      resent: the number of chunks sent again.
      refused: the number of replies that belonged to another chunk or were duplicates.
      name_of: returns what a node is called.
    """

    def __init__(self, grid: Grid, run: str, tell: Callable[[str], object] = lambda sentence: None) -> None:
        super().__init__(grid)
        self._run, self._tell, self._waits = run, tell, dict[int, str]()
        self.name_of: Callable[[int], str] = str
        self._session = uuid4().hex  # replies to an earlier ServerApp of the same run do not count
        # Per node: a counter over all messages would tell each node how many the others got. `setdefault` is atomic, and
        # exchanges may run concurrently: each name is used once.
        self._numbers: dict[int, Iterator[int]] = {}
        self.resent = self.refused = 0

    @property
    def faults(self) -> dict[str, int]:
        """The numbers of chunks sent again and of replies refused so far."""
        return {"resent": self.resent, "refused": self.refused}

    @property
    def keys(self) -> dict[int, bytes]:
        """The public key (PEM) of each connected node."""
        return {n.node_id: bytes(n.public_key) for n in cast(Any, self.grid).get_nodes()}

    def _exchange(self, messages: list[Message], futures: list[Future[Message]], end: float | None) -> None:
        """Sends every message until it has a reply or a final refusal, or the timeout expires."""
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
        return Delivery(self._run, chunk.name, chunk.attempt)

    def _chunk(self, message: Message) -> _Chunk:
        node = message.metadata.dst_node_id
        number = next(self._numbers.setdefault(node, itertools.count(1)))
        return _Chunk(f"{self._session}-{node}-{number}", message)

    def _activations(self) -> dict[int, str]:
        """Returns, for every connected node, since when it has been online."""
        nodes = cast(Any, self.grid).get_nodes()
        return {n.node_id: str(n.last_activated_at) for n in nodes}

    def _send(self, chunks: list[_Chunk]) -> None:
        """Sends chunks that were not sent yet, came back as lost, or went to a node that has restarted or is silent."""
        activations = self._activations()
        for chunk in chunks:
            online_since = activations.get(chunk.message.metadata.dst_node_id)
            if chunk.waits_until > time.monotonic():
                continue
            wanted = chunk.wants_sending or online_since != chunk.activated or chunk.is_silent
            if chunk.reply is None and online_since is not None and wanted:
                chunk.activated = online_since
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
        node = chunk.message.metadata.dst_node_id
        if reply.has_error() and reply.error.code == WAITS:
            chunk.wants_sending, chunk.waits_until = True, time.monotonic() + _OWNER_SECONDS
            self._wait_for(node, str(reply.error.reason))
            return
        self._wait_for(node, "")
        if reply.has_error():
            chunk.errors += reply.error.code != ErrorCode.NODE_UNAVAILABLE  # a node that is away may come back
            if reply.error.code in (ConfigError.exit_code, TooFewError.exit_code) or chunk.errors >= _MAX_ERRORS:
                chunk.reply = reply
            chunk.wants_sending = not chunk.ids
            return
        if not self._delivery(chunk).is_echoed(reply.content):
            self.refused += 1
            refusal = "The node's reply belongs to another message and was refused."
            reply = Message(Error(ErrorCode.REPLY_MESSAGE_UNAVAILABLE, refusal), reply_to=chunk.message)
        chunk.reply = reply

    def _wait_for(self, node: int, reason: str) -> None:
        """Notes whether a node waits for its owner, and tells when that changes."""
        if self._waits.get(node, "") == reason:
            return
        self._waits[node] = reason
        waiting = {self.name_of(node): reason for node, reason in self._waits.items() if reason}
        self._tell("; ".join(f"node {name}: {why}" for name, why in sorted(waiting.items())))


def _resolve(chunks: list[_Chunk], futures: list[Future[Message]]) -> None:
    """Resolves the futures of the chunks that have a reply."""
    for chunk, future in zip(chunks, futures, strict=True):
        if chunk.reply is not None and not future.done():
            future.set_result(chunk.reply)
