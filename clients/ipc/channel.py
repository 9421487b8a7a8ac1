"""The conversation of a server with a worker of its machine: a socket, and rooms for the arrays where the system has such.

All workers read the weights from one room of the server's, which writes them there once a round. Each has a room of its own for its
sums. Two marks in that room say what may be written: the server sets `_MAY_ANSWER` if it has let go of all sums before, the worker sets
`_MAY_ASK` if it has let go of all weights. What may not be written goes through the socket.
"""

import contextlib
import socket
from collections.abc import Iterable, Iterator, Sequence

from flwr.app import Array, ArrayRecord, Message

from clients.ipc.frames import receive_message, send_message
from clients.ipc.shared_memory import Room, RoomSpace
from fedlm.messages.records import records_in

_MAY_ANSWER, _MAY_ASK = 0, 1


class Channel:
    """The server's end.

    Args:
      link: the socket.
      sums: the worker's room.
    """

    def __init__(self, link: socket.socket, sums: Room | None) -> None:
        self.link, self._sums = link, sums
        if sums is not None:
            sums.marks[_MAY_ASK] = True

    @classmethod
    @contextlib.contextmanager
    def opened(cls, weights: Room | None) -> Iterator[tuple["Channel", list[int]]]:
        """Yields a channel and what its worker gets, which is open until the block ends: descriptors of a socket and the rooms."""
        ours, theirs = socket.socketpair()
        sums = None if weights is None else Room.made()
        with theirs:
            rooms = [] if weights is None or sums is None else [weights.descriptor, sums.descriptor]
            yield cls(ours, sums), [theirs.fileno(), *rooms]

    @property
    def has_let_go(self) -> bool:
        """Whether the worker holds no weights that it read from the room."""
        return self._sums is not None and bool(self._sums.marks[_MAY_ASK])

    def ask(self, message: Message, places: "Places", timeout: float | None) -> Message | None:
        """Returns the reply to a message; None if the worker is gone.

        Raises:
          OSError: it is gone, or sends or reads nothing for so many seconds.
        """
        if self._sums is not None:
            self._sums.marks[_MAY_ANSWER] = not self._sums.is_lent
            self._sums.marks[_MAY_ASK] = False  # until the reply
        self.link.settimeout(timeout)
        send_message(self.link, message, places.where)
        return receive_message(self.link, room=self._sums)

    def hang_up(self) -> None:
        """Ends the conversation, also for a thread that waits for a message; closing alone does not wake it."""
        with contextlib.suppress(OSError):
            self.link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes this end; arrays that came over it stay."""
        self.link.close()
        if self._sums is not None:
            self._sums.close()


class Places:
    """Where the arrays of some messages lie in a room, each put there once.

    Args:
      messages: all that are sent.
      room: is written anew; None if it may not be.
    """

    def __init__(self, messages: Iterable[Message], room: Room | None) -> None:
        self._places: dict[int, bytes] = {}
        if room is None:
            return
        room.begin()
        contents = [m.content for m in messages if m.has_content()]
        for array in (a for c in contents for r in records_in(c, ArrayRecord).values() for a in r.values()):
            if id(array) not in self._places:
                self._places[id(array)] = room.put(array)

    def where(self, array: Array) -> bytes:
        """Returns where it lies; empty if it was not put there."""
        return self._places.get(id(array), b"")


class WorkerChannel:
    """The worker's end.

    Args:
      descriptors: what `Channel.opened` yields.
    """

    def __init__(self, descriptors: Sequence[int]) -> None:
        link, *rooms = descriptors
        self._link = socket.socket(fileno=link)
        weights, sums = map(Room, rooms) if rooms else (None, None)
        self._weights, self._sums = weights, sums

    def space(self, size: int) -> RoomSpace | None:
        """Returns space for an array of the reply; None where there is none."""
        return self._sums.space(size) if self._sums is not None and self._sums.marks[_MAY_ANSWER] else None

    def receive(self) -> Message | None:
        """Reads a message; None when the server is gone."""
        return receive_message(self._link, room=self._weights)

    def send(self, reply: Message) -> None:
        """Writes the reply. Nothing of what it answers should be held any more."""
        if self._weights is None or self._sums is None:
            send_message(self._link, reply)
            return
        self._sums.marks[_MAY_ASK] = not self._weights.is_lent
        send_message(self._link, reply, self._sums.where)
        self._sums.begin()

    def __enter__(self) -> "WorkerChannel":
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()
        for room in (self._weights, self._sums):
            if room is not None:
                room.close()
