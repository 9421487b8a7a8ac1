"""Length-prefixed Flower protobuf messages over a socket; nothing is pickled."""

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from flwr.app import Message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage  # pylint: disable=E0611

from fedlm.errors import VaultError

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


def send_message(channel: socket.socket, message: Message) -> None:
    """Writes one message."""
    body = message_to_proto(message).SerializeToString()
    channel.sendall(_LENGTH.pack(len(body)))
    channel.sendall(body)


def receive_message(channel: socket.socket, max_bytes: int | None = None) -> Message | None:
    """Reads one message; None when the other side is gone, or announces more than `max_bytes`."""
    prefix = _read(channel, _LENGTH.size)
    if prefix is not None and max_bytes is not None and _LENGTH.unpack(prefix)[0] > max_bytes:
        return None
    body = _read(channel, _LENGTH.unpack(prefix)[0]) if prefix else None
    if body is None:
        return None
    return message_from_proto(ProtoMessage.FromString(bytes(body)))


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


def _read(channel: socket.socket, size: int) -> bytearray | None:
    content = bytearray(size)
    view, at = memoryview(content), 0
    while at < size:
        try:
            count = channel.recv_into(view[at:])
        except ConnectionResetError:
            return None
        if count == 0:
            return None
        at += count
    return content
