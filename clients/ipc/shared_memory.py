"""A segment of memory that processes of one machine share: arrays lie there instead of passing through a socket.

A segment is a file in memory without a name (memfd): only a process that was handed its descriptor
reaches it. One process writes it, others read in place, read-only and without a copy:

    0           64                                                         size
    +-----------+---------------+-----+---------------+-----+--------------+
    | flags     | block         | pad | block         | pad | not yet used |
    +-----------+---------------+-----+---------------+-----+--------------+
                each block begins at a multiple of 64 bytes, a cache line

    writer   reset()  ->  allocate(size) or write(array), each array  ->  sends (start, size) of each
    reader   lease(references)  ->  reads the blocks  ->  drops its last view: the lease is released

A lease needs no call to end. Every view of a block, and every view of that view, keeps it alive by
reference counting, and `is_leased` asks whether any is left. What the writer may do meanwhile is
the protocol's affair (`clients/ipc/channel.py`).

A segment grows and never shrinks: touching a page beyond the end of the file would kill the reader
(SIGBUS). It grows under leases that are held; their old map shows the same pages. The kernel frees
the memory once no process has it open or mapped.
"""

import mmap
import os
import struct
import weakref
from dataclasses import dataclass

import numpy as np
from flwr.app import Array

from fedlm.messages.records import SharedArray

_ALIGNMENT = 64  # bytes of a cache line; the first line holds the flags
_REFERENCE = struct.Struct("<QQ")  # start, size


@dataclass(frozen=True)
class Block:
    """A part of a segment that holds one array.

    Attributes:
      segment: the whole.
      view: the block's bytes.
      reference: where it lies, for the other side.
    """

    segment: "Segment"
    view: memoryview
    reference: bytes


class Segment:
    """One process' handle of a segment.

    Args:
      descriptor: of the file; it is closed with the segment.
    """

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._map, self._end = mmap.mmap(descriptor, os.fstat(descriptor).st_size), _ALIGNMENT
        self._leases: list[weakref.ref[object]] = []

    @classmethod
    def create(cls) -> "Segment | None":
        """Returns a new segment; None where the system has no files in memory, or refuses one."""
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
    def flags(self) -> mmap.mmap:
        """The segment's first 64 bytes, which hold no array and are the protocol's; both sides write them."""
        return self._map

    @property
    def is_leased(self) -> bool:
        """Whether anything in this process still views what it read from the segment."""
        return any(lease() is not None for lease in self._leases)

    def close(self) -> None:
        """Closes the file; views of it stay valid."""
        self._file.close()

    # The writer's side.

    def reset(self) -> None:
        """Makes all space available again; the next block overwrites the first one."""
        self._end = _ALIGNMENT

    def allocate(self, size: int) -> Block | None:
        """Returns the next block of `size` bytes, to be written; None if the segment cannot grow by it."""
        start, end = self._end, self._end + -(-size // _ALIGNMENT) * _ALIGNMENT
        if end > len(self._map):
            try:
                os.ftruncate(self.descriptor, end)
                self._map_again()
            except OSError:
                return None
        self._end = end
        return Block(self, memoryview(self._map)[start : start + size], _REFERENCE.pack(start, size))

    def write(self, array: Array) -> bytes:
        """Copies an array into the next block; returns its reference, empty if there is no space."""
        content = array.data
        if (block := self.allocate(len(content))) is None:
            return b""
        block.view[:] = content
        return block.reference

    def reference(self, array: Array) -> bytes:
        """Returns the reference of an array that lies in this segment; empty if it lies elsewhere."""
        block = array.block if isinstance(array, SharedArray) else None
        return block.reference if isinstance(block, Block) and block.segment is self else b""

    # The reader's side.

    def lease(self, references: list[bytes]) -> list[Block]:
        """Returns the blocks that the other side wrote, read-only; together they are one lease.

        Raises:
          EOFError: a reference is malformed, or points outside the blocks.
        """
        if not references:
            return []
        if any(len(r) != _REFERENCE.size for r in references):
            raise EOFError
        places = [_REFERENCE.unpack(r) for r in references]
        if max(start + size for start, size in places) > len(self._map):
            self._map_again()  # the writer made it grow
        # All views below have this array as their base, so it lives exactly as long as the last of
        # them.
        whole = np.frombuffer(self._map, np.uint8)
        if any(start < _ALIGNMENT or start + size > len(whole) for start, size in places):
            raise EOFError
        self._leases = [*(lease for lease in self._leases if lease() is not None), weakref.ref(whole)]
        views = (whole[start : start + size].data.toreadonly() for start, size in places)
        return [Block(self, view, reference) for view, reference in zip(views, references, strict=True)]

    def _map_again(self) -> None:
        """Maps the file at its present size; views of the old map keep it, and show the same memory."""
        self._map = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)
