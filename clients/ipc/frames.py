"""Length-prefixed Flower protobuf messages over a socket; nothing is pickled.

A frame is its length, the length of a protobuf message whose arrays are empty, that message, and then for each array of it,
in its order, a length and the bytes; lengths are u64, little-endian. Protobuf would copy the arrays six times.
Between a server and its local workers an array may lie in a room instead: the protobuf message then says where, and nothing follows.
"""

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.common.serde import message_from_proto, recorddict_to_proto
from flwr.common.serde_utils import error_to_proto, metadata_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage  # pylint: disable=E0611

from clients.ipc.shared_memory import Room
from fedlm.errors import VaultError
from fedlm.messages.records import LaidArray, records_in

_LENGTH = struct.Struct("<Q")
_CONNECT_SECONDS = 120.0


@contextlib.contextmanager
def unix_path(path: Path) -> Iterator[str]:
    """Yields a short name of a socket's path; the kernel takes 107 bytes only."""
    if not Path("/proc/self/fd").is_dir():
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def send_message(channel: socket.socket, message: Message, place: Callable[[Array], bytes] = lambda _: b"") -> None:
    """Writes one message; `place` says where in a room an array lies, if it does."""
    body, arrays = _without_arrays(message, place)
    parts = [body.SerializeToString(), *arrays]
    channel.sendall(_LENGTH.pack(sum(_LENGTH.size + len(p) for p in parts)))
    for part in parts:
        channel.sendall(_LENGTH.pack(len(part)))
        channel.sendall(part)


def _without_arrays(message: Message, place: Callable[[Array], bytes]) -> tuple[ProtoMessage, list[bytes]]:
    """Returns a message whose arrays are empty, or say where they lie in the room, and what was in those that are empty."""
    metadata = metadata_to_proto(message.metadata)
    if not message.has_content():
        return ProtoMessage(metadata=metadata, error=error_to_proto(message.error)), []
    content, arrays = RecordDict(), list[bytes]()
    for name, record in message.content.items():
        content[name] = record
        if isinstance(record, ArrayRecord):
            places = {k: place(a) for k, a in record.items()}
            content[name] = ArrayRecord({k: Array(a.dtype, a.shape, a.stype, places[k]) for k, a in record.items()})
            arrays += [a.data for k, a in record.items() if not places[k]]
    return ProtoMessage(metadata=metadata, content=recorddict_to_proto(content)), arrays


def receive_message(channel: socket.socket, max_bytes: int | None = None, room: Room | None = None) -> Message | None:
    """Reads one message; None when the other side is gone, announces more than `max_bytes`, or sends more than it announced.

    Arrays of it that lie in the room are `LaidArray`s there.
    """
    # With a buffer of one byte nothing is read ahead, and `read` fills the bytes that it returns in place.
    try:
        with channel.makefile("rb", buffering=1) as file:
            return _read_message(_Frame(file, max_bytes), room)
    except (ConnectionResetError, EOFError):
        return None


class _Frame:
    """What is left of a frame that is being read."""

    def __init__(self, file: BinaryIO, max_bytes: int | None) -> None:
        self._file, self._left = file, _LENGTH.size
        size = self._length()
        if max_bytes is not None and size > max_bytes:
            raise EOFError
        self._left = size

    def part(self) -> bytes:
        """Returns the next part.

        Raises:
          EOFError: the frame, or the connection, ends before it.
        """
        return self._read(self._length())

    def _length(self) -> int:
        return int(_LENGTH.unpack(self._read(_LENGTH.size))[0])

    def _read(self, size: int) -> bytes:
        if size > self._left:
            raise EOFError
        content = self._file.read(size)
        if len(content) < size:
            raise EOFError
        self._left -= size
        return content


def _read_message(frame: _Frame, room: Room | None) -> Message:
    message = message_from_proto(ProtoMessage.FromString(frame.part()))
    records = records_in(message.content, ArrayRecord).values() if message.has_content() else ()
    laid = [(record, key, array) for record in records for key, array in record.items() if array.data]
    if laid and room is None:
        raise EOFError
    spaces = room.lend([array.data for _, _, array in laid]) if room is not None else []
    for array in (a for record in records for a in record.values() if not a.data):
        array.data = frame.part()
    for (record, key, array), space in zip(laid, spaces, strict=True):
        record[key] = LaidArray(array.dtype, array.shape, array.stype, space)
    return message


def call_worker(path: Path, message: Message, meanwhile: Callable[[], object] = lambda: None) -> Message:
    """Hands a message to the worker behind a Unix socket; returns its reply.

    Args:
      path: the socket.
      message: what the worker answers.
      meanwhile: called while nobody listens yet, for instance to start a worker that was lost.

    Raises:
      VaultError: the worker is not there, or was lost while it worked.
    """
    try:
        with _connect(path, meanwhile) as channel:
            send_message(channel, message)
            reply = receive_message(channel)
    except OSError:
        reply = None
    if reply is None:
        raise VaultError("The node's worker is not there, or was lost while it worked; the node starts it again.")
    return reply


def _connect(path: Path, meanwhile: Callable[[], object]) -> socket.socket:
    """Waits for a worker that is just starting."""
    end = time.monotonic() + _CONNECT_SECONDS
    while True:
        channel = socket.socket(socket.AF_UNIX)
        try:
            with unix_path(path) as name:
                channel.connect(name)
            return channel
        except OSError:
            channel.close()
            if time.monotonic() > end:
                raise
            meanwhile()
            time.sleep(0.2)
