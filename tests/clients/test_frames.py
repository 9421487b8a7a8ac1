"""Frames: what goes in comes out, arrays as the same bytes; a frame that is cut, too long or false is none."""

import socket
import struct
import threading

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from clients.ipc.frames import receive_message, send_message
from server.engines.local import take_identity

LENGTH = struct.Struct("<Q")


def request(size: int = 100_000) -> Message:
    take_identity()
    arrays = {"b": Array(np.arange(size, dtype=np.int64)), "a": Array(np.zeros(0, np.float32))}
    config = ConfigRecord({"clients": bytes(range(256)), "settings": "{}"})
    content = RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord({"n": [1, 2]}), "config": config})
    content["drift"] = ArrayRecord({"0": Array(np.array(7.0))})
    return Message(content, 2, "train")


def frame_of(message: Message) -> bytes:
    """Returns the bytes of a frame."""
    ours, theirs = socket.socketpair()
    found = bytearray()

    def collect() -> None:
        while part := theirs.recv(2**16):
            found.extend(part)

    with theirs:
        reader = threading.Thread(target=collect)
        reader.start()
        with ours:
            send_message(ours, message)
        reader.join()
    return bytes(found)


def received(content: bytes, max_bytes: int | None = None) -> tuple[Message | None, bytes]:
    """Returns the message of a frame, and what is left on the connection after it."""
    ours, theirs = socket.socketpair()
    with theirs:
        writer = threading.Thread(target=lambda: (ours.sendall(content), ours.close()))
        writer.start()
        message = receive_message(theirs, max_bytes)
        rest = bytearray()
        while part := theirs.recv(2**16):
            rest.extend(part)
        writer.join()
    return message, bytes(rest)


def test_a_message_comes_out_as_it_went_in_and_nothing_is_read_ahead() -> None:
    sent = request()
    found, rest = received(frame_of(sent) + b"next")
    assert found is not None and rest == b"next"
    assert found.content == sent.content and found.metadata.message_type == "train"
    assert found.content["config"] == sent.content["config"]
    for name in ("arrays", "drift"):
        there, here = sent.content.array_records[name], found.content.array_records[name]
        assert list(here) == list(there)
        assert [(a.dtype, a.shape, a.stype, a.data) for a in here.values()] == [
            (a.dtype, a.shape, a.stype, a.data) for a in there.values()
        ]
        assert all(type(a.data) is bytes for a in here.values())


def test_sending_leaves_the_message_as_it_is() -> None:
    sent = request(1000)
    frame_of(sent)
    np.testing.assert_array_equal(sent.content.array_records["arrays"]["b"].numpy(), np.arange(1000))


def test_an_error_comes_out_as_it_went_in() -> None:
    found, _ = received(frame_of(Message(Error(3, "No."), reply_to=request(1))))
    assert found is not None and found.has_error() and (found.error.code, found.error.reason) == (3, "No.")


@pytest.mark.parametrize("kept", [0, 4, 8, 12, 100, -8, -1])
def test_a_frame_that_is_cut_is_none(kept: int) -> None:
    assert received(frame_of(request(10))[:kept])[0] is None


def test_a_frame_longer_than_allowed_is_none() -> None:
    frame = frame_of(request(10))
    assert received(frame, len(frame) - LENGTH.size)[0] is not None
    assert received(frame, len(frame) - LENGTH.size - 1)[0] is None


def test_a_part_that_says_it_is_longer_than_its_frame_is_none() -> None:
    frame = frame_of(request(10))
    lie = frame[: LENGTH.size] + LENGTH.pack(2**40) + frame[2 * LENGTH.size :]
    assert received(lie)[0] is None


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", bytes(range(255, 0, -1))])
def test_a_body_that_is_no_message_is_none(body: bytes) -> None:
    assert received(LENGTH.pack(LENGTH.size + len(body)) + LENGTH.pack(len(body)) + body)[0] is None


def test_a_reference_where_there_is_no_shared_memory_is_none() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send_message(ours, request(1), lambda array: bytes(16))
        assert receive_message(theirs) is None
