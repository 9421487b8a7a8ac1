"""Memory that processes of one machine share: a round's arrays lie there instead of going through a socket.

A room is a file in memory that has no name: only who was handed its descriptor has it. One side writes, others read where it lies,
without a copy. Who is to write asks first whether what was lent from the room before has been let go of (`clients/ipc/channel.py`).
"""

import mmap
import os
import struct
import weakref
from dataclasses import dataclass

import numpy as np
from flwr.app import Array

from fedlm.messages.records import LaidArray

_ALIGNED = 64  # bytes of a cache line: where arrays begin, and what the marks have
_REFERENCE = struct.Struct("<QQ")


@dataclass(frozen=True)
class RoomSpace:
    """A part of a room.

    Attributes:
      room: the whole.
      view: its bytes.
      reference: where it lies, for the other side.
    """

    room: "Room"
    view: memoryview
    reference: bytes


class Room:
    """The memory.

    Args:
      descriptor: of the file; it is closed with the room.
    """

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._map, self._end = mmap.mmap(descriptor, os.fstat(descriptor).st_size), _ALIGNED
        self._lent: list[weakref.ref[object]] = []

    @classmethod
    def made(cls) -> "Room | None":
        """Returns a new room; None where the system has no files in memory, or gives none."""
        if not hasattr(os, "memfd_create"):
            return None
        try:
            descriptor = os.memfd_create("fedlm")
            os.ftruncate(descriptor, mmap.PAGESIZE)
        except OSError:
            return None
        return cls(descriptor)

    @property
    def descriptor(self) -> int:
        """The file, for another process."""
        return self._file.fileno()

    @property
    def marks(self) -> mmap.mmap:
        """The room's first bytes, which hold no array: what both sides tell each other, 64 bytes."""
        return self._map

    @property
    def is_lent(self) -> bool:
        """Whether anybody in this process still holds what was read from the room."""
        return any(lent() is not None for lent in self._lent)

    def close(self) -> None:
        """Closes the file; what was lent stays where it is."""
        self._file.close()

    def begin(self) -> None:
        """Begins anew to give space."""
        self._end = _ALIGNED

    def space(self, size: int) -> RoomSpace | None:
        """Returns the next so many bytes, to be written; None if the room cannot grow by them."""
        start, end = self._end, self._end + -(-size // _ALIGNED) * _ALIGNED
        if end > len(self._map):
            try:
                os.ftruncate(self.descriptor, end)
                self._grow()
            except OSError:
                return None
        self._end = end
        return RoomSpace(self, memoryview(self._map)[start : start + size], _REFERENCE.pack(start, size))

    def where(self, array: Array) -> bytes:
        """Returns where in the room an array lies; empty if it does not."""
        space = array.space if isinstance(array, LaidArray) else None
        return space.reference if isinstance(space, RoomSpace) and space.room is self else b""

    def put(self, array: Array) -> bytes:
        """Copies an array into the room; returns where it lies, empty if there is no space."""
        content = array.data
        if (space := self.space(len(content))) is None:
            return b""
        space.view[:] = content
        return space.reference

    def lend(self, references: list[bytes]) -> list[RoomSpace]:
        """Returns what the other side wrote, read-only.

        Raises:
          EOFError: a reference is none, or reaches out of what may be written.
        """
        if not references:
            return []
        if any(len(r) != _REFERENCE.size for r in references):
            raise EOFError
        places = [_REFERENCE.unpack(r) for r in references]
        if max(start + size for start, size in places) > len(self._map):
            self._grow()
        whole = np.frombuffer(self._map, np.uint8)  # lives as long as any view of it
        if any(start < _ALIGNED or start + size > len(whole) for start, size in places):
            raise EOFError
        self._lent = [*(lent for lent in self._lent if lent() is not None), weakref.ref(whole)]
        views = (whole[start : start + size].data.toreadonly() for start, size in places)
        return [RoomSpace(self, view, reference) for view, reference in zip(views, references, strict=True)]

    def _grow(self) -> None:
        """Maps what the file has become; views of the old map keep it, and it is the same memory."""
        self._map = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)
