"""A segment of memory that processes on one machine share, so that arrays need not pass through a socket.

A segment is an anonymous file in memory (memfd): only processes that were given its descriptor can
open it. One process writes it; others read it in place, read-only and without a copy:

    0           64                                                         size
    +-----------+---------------+-----+---------------+-----+--------------+
    | flags     | block         | pad | block         | pad | not yet used |
    +-----------+---------------+-----+---------------+-----+--------------+
                each block begins at a multiple of 64 bytes, a cache line

    writer   reset()  ->  allocate(size) or write(array), each array  ->  sends (start, size) of each
    reader   lease(references)  ->  reads the blocks  ->  drops its last view: the lease is released

A lease ends without a call. Every view of a block, and every view of that view, keeps it alive by
reference counting, and `is_leased` reports whether any remains. The protocol decides what the writer
may do meanwhile (`clients/ipc/channel.py`).

A segment grows but never shrinks, since reading a page beyond the end of the file would kill the
reader (SIGBUS). It may grow while leases are held: their old mapping shows the same pages. The
kernel frees the memory once no process has it open or mapped.
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
      reference: (start, size), with which the other side finds it.
    """

    segment: "Segment"
    view: memoryview
    reference: bytes


class Segment:
    """One process' handle of a segment.

    Args:
      descriptor: the file's; it is closed with the segment.
    """

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._map, self._end = mmap.mmap(descriptor, os.fstat(descriptor).st_size), _ALIGNMENT
        self._leases: list[weakref.ref[object]] = []

    @classmethod
    def create(cls) -> "Segment | None":
        """Returns a new segment; None if the system does not support files in memory, or refuses to create one."""
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
        """The segment's first 64 bytes, reserved for the flags of the protocol; both sides write them."""
        return self._map

    @property
    def is_leased(self) -> bool:
        """Whether this process still has a view of a block that it leased."""
        return any(lease() is not None for lease in self._leases)

    def close(self) -> None:
        """Closes the file; views of it stay valid."""
        self._file.close()

    # The writer's side.

    def reset(self) -> None:
        """Frees all blocks: the next block overwrites the first one."""
        self._end = _ALIGNMENT

    def allocate(self, size: int) -> Block | None:
        """Returns the next block of `size` bytes for writing; None if the segment cannot grow by that much."""
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
        """Copies an array into the next block; returns its reference, empty if no block is available."""
        content = array.data
        if (block := self.allocate(len(content))) is None:
            return b""
        block.view[:] = content
        return block.reference

    def reference(self, array: Array) -> bytes:
        """Returns the reference of an array in this segment; empty for other arrays."""
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
            self._map_again()  # the writer has enlarged the file
        # All views below have this array as their base, so it lives exactly as long as the last view.
        whole = np.frombuffer(self._map, np.uint8)
        if any(start < _ALIGNMENT or start + size > len(whole) for start, size in places):
            raise EOFError
        self._leases = [*(lease for lease in self._leases if lease() is not None), weakref.ref(whole)]
        views = (whole[start : start + size].data.toreadonly() for start, size in places)
        return [Block(self, view, reference) for view, reference in zip(views, references, strict=True)]

    def _map_again(self) -> None:
        """Maps the file at its present size; existing views keep the old mapping, which shows the same memory."""
        self._map = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)
