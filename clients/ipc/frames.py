"""Length-prefixed Flower protobuf messages over a socket; nothing is pickled.

    length of the rest | length, protobuf message with empty arrays | length, array | length, array

Lengths are u64, little-endian; the arrays follow in the message's order. Inside the protobuf message
they would be copied six times. Between a server and its local workers, an array may be in shared
memory: the protobuf message then contains its reference, and no bytes follow for it.
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
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from clients.ipc.shared_memory import Segment
from fedlm.errors import VaultError
from fedlm.messages.records import SharedArray, records_in

_LENGTH = struct.Struct("<Q")
_CONNECT_SECONDS = 120.0
_NOBODY_ELSE = 0o177  # leaves a socket of mode 0600


@contextlib.contextmanager
def unix_path(path: Path) -> Iterator[str]:
    """Yields a short name for a socket's path, since the kernel accepts at most 107 bytes."""
    if not Path("/proc/self/fd").is_dir():
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextlib.contextmanager
def private_listener(path: Path) -> Iterator[socket.socket]:
    """Yields a Unix socket of mode 0600, from its first moment on, that replaces an old one; removes it at the end.

    The umask is the process's: files that other threads create in that instant are private, too.
    """
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.umask(_NOBODY_ELSE)
        try:
            with unix_path(path) as name:
                listener.bind(name)
        finally:
            os.umask(before)
        yield listener
    path.unlink(missing_ok=True)


def is_own_user(channel: socket.socket) -> bool:
    """Returns whether the process at the other end runs as this user."""
    size = struct.calcsize("3i")  # struct ucred: pid, uid, gid
    _, user, _ = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(user == os.getuid())


def send_message(channel: socket.socket, message: Message, reference: Callable[[Array], bytes] = lambda _: b"") -> None:
    """Writes one message; `reference` returns an array's reference into shared memory, empty if it is not there."""
    body, arrays = _without_arrays(message, reference)
    parts = [body.SerializeToString(), *arrays]
    channel.sendall(_LENGTH.pack(sum(_LENGTH.size + len(p) for p in parts)))
    for part in parts:
        channel.sendall(_LENGTH.pack(len(part)))
        channel.sendall(part)


def _without_arrays(message: Message, reference: Callable[[Array], bytes]) -> tuple[ProtoMessage, list[bytes]]:
    """Returns a message whose arrays contain a reference or nothing, and the bytes of the arrays without a reference."""
    metadata = metadata_to_proto(message.metadata)
    if not message.has_content():
        return ProtoMessage(metadata=metadata, error=error_to_proto(message.error)), []
    content, arrays = RecordDict(), list[bytes]()
    for name, record in message.content.items():
        content[name] = record
        if isinstance(record, ArrayRecord):
            known = {k: reference(a) for k, a in record.items()}
            content[name] = ArrayRecord({k: Array(a.dtype, a.shape, a.stype, known[k]) for k, a in record.items()})
            arrays += [a.data for k, a in record.items() if not known[k]]
    return ProtoMessage(metadata=metadata, content=recorddict_to_proto(content)), arrays


def receive_message(
    channel: socket.socket, max_bytes: int | None = None, segment: Segment | None = None
) -> Message | None:
    """Reads one message; None if the other side was lost, or the frame is malformed or longer than `max_bytes`.

    Arrays in shared memory become `SharedArray`s in the segment, under one lease.
    """
    # With a buffer of one byte, nothing is read ahead, and `read` fills its result without a copy.
    try:
        with channel.makefile("rb", buffering=1) as file:
            return _read_message(_Frame(file, max_bytes), segment)
    except (ConnectionResetError, EOFError, DecodeError):
        return None


class _Frame:
    """A frame that is being read; no part may be longer than the rest of the frame."""

    def __init__(self, file: BinaryIO, max_bytes: int | None) -> None:
        self._file, self._left = file, _LENGTH.size
        size = self._length()
        if max_bytes is not None and size > max_bytes:
            raise EOFError
        self._left = size

    def part(self) -> bytes:
        """Returns the next part.

        Raises:
          EOFError: the frame or the connection ends before the part.
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


def _read_message(frame: _Frame, segment: Segment | None) -> Message:
    message = message_from_proto(ProtoMessage.FromString(frame.part()))
    records = records_in(message.content, ArrayRecord).values() if message.has_content() else ()
    referred = [(record, key, array) for record in records for key, array in record.items() if array.data]
    if referred and segment is None:
        raise EOFError
    blocks = segment.lease([array.data for _, _, array in referred]) if segment is not None else []
    for array in (a for record in records for a in record.values() if not a.data):
        array.data = frame.part()
    for (record, key, array), block in zip(referred, blocks, strict=True):
        record[key] = SharedArray(array.dtype, array.shape, array.stype, block)
    return message


def call_worker(path: Path, message: Message, meanwhile: Callable[[], object] = lambda: None) -> Message:
    """Hands a message to the worker behind a Unix socket; returns its reply.

    Args:
      path: the socket.
      message: the request.
      meanwhile: called while no worker is listening, for example to restart it.

    Raises:
      VaultError: no worker is listening, or it was lost while working.
    """
    try:
        with _connect(path, meanwhile) as channel:
            send_message(channel, message)
            reply = receive_message(channel)
    except OSError:
        reply = None
    if reply is None:
        raise VaultError("The node's worker is not running or was lost during the request: the node restarts it.")
    return reply


def _connect(path: Path, meanwhile: Callable[[], object]) -> socket.socket:
    """Connects to a worker, which may still be starting."""
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
