"""A server and a worker process on one machine: messages over a socket, arrays in shared memory under a lease protocol.

    server                                                                 worker
      | writes once per round ====== segment "weights", one for all ======>  | leases, trains
      | leases, adds up       <===== segment "sums", one a worker ==========  | writes
      | <------------- socket: messages, with references or the arrays -----> |

A segment is in one of two states. Its writer must know which one, because the reader works in place:

                 the writer sends references into it
        FREE  ---------------------------------------->  LEASED
         ^    writer: reset, allocate, write                |   writer: changes nothing; sends arrays through the socket
         |                                                  |   reader: reads in place, for as long as it likes
         +--------------------------------------------------+
                 a flag of the reader, set before its next message: no lease remains

A lease is released when the reader drops its last view; no extra message is sent for it. The flags
are in the sums segment. Each is set before a message is sent and read after that message has
arrived, so the socket orders the two accesses:

    server  _SUMS_FREE = it has no lease on the sums;  _WEIGHTS_FREE = 0;  sends the request
    worker  leases the weights and trains;  if _SUMS_FREE, allocates its sums in the segment, otherwise in its own memory
    worker  drops the request;  _WEIGHTS_FREE = it has no lease on the weights;  sends the reply
    server  leases the sums;  rewrites the weights for the next round only if every worker's _WEIGHTS_FREE is set

The two sides never write a flag at the same time, because a channel has one request at a time. The
leases of a killed worker end with it; its successor gets a new channel, whose flags start as free.
Without shared memory, or if a segment cannot grow, the socket carries everything: the same messages
and bits, with two more copies.
"""

import contextlib
import socket
from collections.abc import Iterable, Iterator, Sequence

from flwr.app import Array, ArrayRecord, Message

from clients.ipc.frames import receive_message, send_message
from clients.ipc.shared_memory import Block, Segment
from fedlm.messages.records import records_in

_SUMS_FREE, _WEIGHTS_FREE = 0, 1  # bytes of the sums segment's flags


class Channel:
    """The server's end.

    Args:
      link: the socket.
      sums: the segment that the worker writes; None without shared memory.
    """

    def __init__(self, link: socket.socket, sums: Segment | None) -> None:
        self.link, self._sums = link, sums
        if sums is not None:
            sums.flags[_WEIGHTS_FREE] = True

    @classmethod
    @contextlib.contextmanager
    def opened(cls, weights: Segment | None) -> Iterator[tuple["Channel", list[int]]]:
        """Yields a channel and the descriptors for its worker, which stay open until the block ends.

        The descriptors are the socket's and, with shared memory, those of the segments of weights
        and sums.
        """
        ours, theirs = socket.socketpair()
        sums = None if weights is None else Segment.create()
        with theirs:
            segments = [] if weights is None or sums is None else [weights.descriptor, sums.descriptor]
            channel = cls(ours, sums)
            try:
                yield channel, [theirs.fileno(), *segments]
            except BaseException:  # no worker was started
                channel.close()
                raise

    @property
    def has_released(self) -> bool:
        """Whether the worker has released its leases on the weights. False while it works, and without shared memory."""
        return self._sums is not None and bool(self._sums.flags[_WEIGHTS_FREE])

    def request(self, message: Message, placement: "Placement", timeout: float | None) -> Message | None:
        """Sends a message and returns the reply; None if the worker was lost.

        Raises:
          OSError: the worker was lost, or it has neither sent nor read anything for `timeout` seconds.
        """
        if self._sums is not None:
            self._sums.flags[_SUMS_FREE] = not self._sums.is_leased
            self._sums.flags[_WEIGHTS_FREE] = False  # until the reply says otherwise
        self.link.settimeout(timeout)
        send_message(self.link, message, placement.reference)
        return receive_message(self.link, segment=self._sums)

    def shut_down(self) -> None:
        """Shuts the connection down. This wakes a thread that waits in `request`, which `close` would not."""
        with contextlib.suppress(OSError):
            self.link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes this end; arrays received over it stay valid."""
        self.link.close()
        if self._sums is not None:
            self._sums.close()


class Placement:
    """The arrays of a round's messages, each written once to the weights segment for all workers.

    Args:
      messages: all messages of the round.
      segment: to be overwritten; None without one, or if a worker still holds a lease on it.
    """

    def __init__(self, messages: Iterable[Message], segment: Segment | None) -> None:
        self._references: dict[int, bytes] = {}  # by id(array): the messages keep their arrays alive
        if segment is None:
            return
        segment.reset()
        contents = [m.content for m in messages if m.has_content()]
        for array in (a for c in contents for r in records_in(c, ArrayRecord).values() for a in r.values()):
            if id(array) not in self._references:
                self._references[id(array)] = segment.write(array)

    def reference(self, array: Array) -> bytes:
        """Returns the reference of an array in the segment; empty if it was not written."""
        return self._references.get(id(array), b"")


class WorkerChannel:
    """The worker's end.

    Args:
      descriptors: what `Channel.opened` yields.
    """

    def __init__(self, descriptors: Sequence[int]) -> None:
        link, *segments = descriptors
        self._link = socket.socket(fileno=link)
        weights, sums = map(Segment, segments) if segments else (None, None)
        self._weights, self._sums = weights, sums

    def allocate(self, size: int) -> Block | None:
        """Returns a block for an array of the reply; None if the array must be sent through the socket."""
        return self._sums.allocate(size) if self._sums is not None and self._sums.flags[_SUMS_FREE] else None

    def receive(self) -> Message | None:
        """Reads a message; None once the server has closed the channel."""
        return receive_message(self._link, segment=self._weights)

    def send(self, reply: Message) -> None:
        """Sends the reply. The caller must have dropped the request, or its lease is not released."""
        if self._weights is None or self._sums is None:
            send_message(self._link, reply)
            return
        self._sums.flags[_WEIGHTS_FREE] = not self._weights.is_leased
        send_message(self._link, reply, self._sums.reference)
        self._sums.reset()  # local to this process: `allocate` still requires the server's flag

    def __enter__(self) -> "WorkerChannel":
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()
        for segment in (self._weights, self._sums):
            if segment is not None:
                segment.close()
