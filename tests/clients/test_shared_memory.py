"""Shared memory: the other side reads without a copy, and what is leased is never overwritten."""

import errno
import gc
import os
import struct
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.common.serde import message_to_proto

from clients.ipc.channel import Channel, Placement, WorkerChannel
from clients.ipc.shared_memory import Segment
from fedlm.aggregation.base import RoundPlan
from fedlm.aggregation.exact import ExactSum
from fedlm.aggregation.open import Open, read_sum
from fedlm.messages.fields import arrays_in, record_weights, weights_record
from fedlm.messages.records import SharedArray, arrays_of, as_array, record_of, records_in
from fedlm.messages.training import payload_content, read_payload
from fedlm.types import TextMetrics, Weights
from server.engines.local import take_identity

pytestmark = pytest.mark.flower
WEIGHTS: Weights = (
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.ones(40_000, np.float32),
    np.full((), 3, np.float32),
)


def pair() -> tuple[Segment, Segment]:
    """Returns a segment as its writer and its reader have it."""
    writer = Segment.create()
    assert writer is not None
    return writer, Segment(os.dup(writer.descriptor))


def leased(reader: Segment, *references: bytes) -> list[np.ndarray]:
    record = ArrayRecord()
    for name, space in enumerate(reader.lease(list(references))):
        record[str(name)] = SharedArray("float32", (), "numpy.ndarray", space)
    return arrays_of(record)


@pytest.mark.parametrize("values", [*WEIGHTS, np.zeros((0, 3), np.int64), np.asfortranarray(np.eye(3))])
def test_an_array_is_read_where_it_was_written(values: np.ndarray) -> None:
    writer, reader = pair()
    array = as_array(values, writer.allocate)
    assert isinstance(array, SharedArray) and array.data == as_array(values).data
    (found,) = leased(reader, writer.reference(array))
    np.testing.assert_array_equal(found, values)
    assert found.dtype == values.dtype and found.shape == values.shape and not found.flags.writeable
    if values.size:
        array.block.view[-1] ^= 1  # the same memory
        assert found.tobytes() != np.ascontiguousarray(values).tobytes()


def test_arrays_begin_where_cache_lines_do_and_a_segment_grows_under_leases() -> None:
    writer, reader = pair()
    places = [writer.write(Array(w)) for w in WEIGHTS]
    found = leased(reader, *places)
    assert all(f.__array_interface__["data"][0] % 64 == 0 for f in found)
    large = np.arange(10**6)
    (later,) = leased(reader, writer.write(Array(large)))
    np.testing.assert_array_equal(later, large)
    for f, w in zip(found, WEIGHTS, strict=True):
        np.testing.assert_array_equal(f, w)


def test_a_segment_is_leased_as_long_as_any_part_of_it_is_held() -> None:
    writer, reader = pair()
    assert not reader.is_leased
    one, two = leased(reader, writer.write(Array(WEIGHTS[0])), writer.write(Array(WEIGHTS[1])))
    part = two[5:9].reshape(2, 2)
    del one, two
    assert reader.is_leased
    copy = part + 1
    del part
    assert not reader.is_leased and copy.shape == (2, 2)


@pytest.mark.parametrize(
    "reference",
    [
        b"x",
        struct.pack("<QQ", 0, 2**40),
        struct.pack("<QQ", 2**63, 2**63),
        struct.pack("<QQ", 4000, 97),
        struct.pack("<QQ", 0, 8),
    ],
)
def test_a_reference_outside_the_segment_is_refused(reference: bytes) -> None:
    with pytest.raises(EOFError):
        pair()[1].lease([reference])


def test_what_lies_in_another_segment_is_not_referred_to() -> None:
    writer, other = pair()[0], pair()[0]
    array = as_array(WEIGHTS[0], writer.allocate)
    assert writer.reference(array) and not other.reference(array) and not writer.reference(Array(WEIGHTS[0]))


class Talk:
    """A server's channel, and a worker that answers in a thread."""

    def __init__(self, answer: Callable[[Message, WorkerChannel], RecordDict]) -> None:
        take_identity()
        self.weights = Segment.create()
        with Channel.opened(self.weights) as (self.channel, theirs):
            worker = WorkerChannel([os.dup(d) for d in theirs])
        self.thread = threading.Thread(target=self._serve, args=(worker, answer))
        self.thread.start()

    @staticmethod
    def _serve(worker: WorkerChannel, answer: Callable[[Message, WorkerChannel], RecordDict]) -> None:
        def reply() -> Message | None:
            if (message := worker.receive()) is None:
                return None
            return Message(answer(message, worker), reply_to=message)

        with worker:
            while (answered := reply()) is not None:
                worker.send(answered)

    def ask(self, weights: Weights) -> Message:
        """Sends weights; returns the reply."""
        message = Message(RecordDict({"arrays": weights_record(weights)}), 2, "train")
        placement = Placement([message], self.weights if self.channel.has_released else None)
        reply = self.channel.request(message, placement, 5.0)
        assert reply is not None
        return reply


@pytest.fixture
def talk() -> Iterator[Callable[..., Talk]]:
    talks: list[Talk] = []

    def begin(answer: Callable[[Message, WorkerChannel], RecordDict]) -> Talk:
        talks.append(Talk(answer))
        return talks[-1]

    gc.disable()  # nothing here waits for the collector
    yield begin
    gc.enable()
    for each in talks:
        each.channel.close()
        each.thread.join(5.0)


def vectors_of(reply: Message) -> ArrayRecord:
    """Returns the only record of arrays of a reply: sums, or first weights."""
    (record,) = records_in(reply.content, ArrayRecord).values()
    return record


def is_laid(record: ArrayRecord) -> bool:
    kinds = {isinstance(array, SharedArray) for array in record.values()}
    assert len(kinds) == 1
    return kinds.pop()


def summed(total: ExactSum, worker: WorkerChannel) -> RecordDict:
    """Returns the reply of a node, whose vectors lie in the segment if there is space."""
    return payload_content(Open({}).payload(total, TextMetrics()), worker.allocate)


def sum_of(reply: Message) -> ExactSum:
    """Returns the sum of a reply, as the server reads it."""
    plan = RoundPlan(1, WEIGHTS, np.zeros(1, np.uint64))
    return read_sum(read_payload(reply.content, WEIGHTS), plan)[0]


def doubled(message: Message, worker: WorkerChannel) -> RecordDict:
    """Answers a sum of the weights, and in `failed` whether those lay in the segment."""
    record = arrays_in(message.content)
    sums = tuple(np.asarray(2 * w).astype(np.int64) for w in record_weights(record))
    return summed(ExactSum(sums, failed=int(is_laid(record))), worker)


def in_part(message: Message, worker: WorkerChannel) -> RecordDict:
    """Answers as `doubled` does, of arrays that lie in the segment or do not."""
    sums = tuple(np.asarray(2 * w).astype(np.int64) for w in record_weights(arrays_in(message.content)))
    return summed(ExactSum(sums), worker)


def test_nothing_goes_through_the_socket_as_long_as_all_is_released(talk: Callable[..., Talk]) -> None:
    conversation = talk(doubled)
    for factor in range(5):
        weights = tuple(w * np.float32(factor) for w in WEIGHTS)
        reply = conversation.ask(weights)
        total = sum_of(reply)
        assert is_laid(vectors_of(reply)) and total.failed == 1
        for s, w in zip(total.sums, weights, strict=True):
            np.testing.assert_array_equal(s, 2 * w)
        del reply, total, s


def test_sums_that_are_held_stay_and_the_next_come_through_the_socket(talk: Callable[..., Talk]) -> None:
    conversation, held = talk(doubled), list[ExactSum]()
    for factor in (1, 2, 3):
        weights = tuple(w * np.float32(factor) for w in WEIGHTS)
        reply = conversation.ask(weights)
        assert is_laid(vectors_of(reply)) == (factor == 1)
        held.append(sum_of(reply))
    for factor, total in enumerate(held, 1):
        for s, w in zip(total.sums, WEIGHTS, strict=True):
            np.testing.assert_array_equal(s, 2 * factor * w)


def test_weights_that_a_worker_holds_stay_and_the_next_come_through_the_socket(talk: Callable[..., Talk]) -> None:
    held: list[Weights] = []

    def hold(message: Message, worker: WorkerChannel) -> RecordDict:
        held.append(record_weights(arrays_in(message.content)))
        return doubled(message, worker)

    conversation, found = talk(hold), list[int]()
    for factor in (1, 2, 3):
        reply = conversation.ask(tuple(w * np.float32(factor) for w in WEIGHTS))
        found.append(sum_of(reply).failed)
    assert found == [1, 0, 0]
    for factor, weights in enumerate(held, 1):
        for s, w in zip(weights, WEIGHTS, strict=True):
            np.testing.assert_array_equal(s, factor * w)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_either_side_holds_is_never_overwritten(talk: Callable[..., Talk], seed: int) -> None:
    """Both sides keep and drop arrays at random; what is kept is what was sent."""
    rng = np.random.default_rng(seed)
    of_worker: list[tuple[int, Weights]] = []
    of_server: list[tuple[int, Weights]] = []

    def answer(message: Message, worker: WorkerChannel) -> RecordDict:
        weights = record_weights(arrays_in(message.content))
        if rng.random() < 0.3:
            of_worker.append((len(sent), weights))
        if rng.random() < 0.5:
            of_worker.clear()
        return doubled(message, worker)

    conversation, sent = talk(answer), list[Weights]()
    for factor in range(12):
        sent.append(tuple(w + np.float32(factor) for w in WEIGHTS))
        is_free = conversation.channel.has_released
        reply = conversation.ask(sent[-1])
        total = sum_of(reply)
        assert total.failed == is_free  # the weights went through the segment if they could
        if rng.random() < 0.3:
            of_server.append((len(sent), total.sums))
        del reply, total
        if rng.random() < 0.5:
            of_server.clear()
        for number, weights in of_worker:
            assert all(np.array_equal(a, b) for a, b in zip(weights, sent[number - 1], strict=True))
        for number, sums in of_server:
            assert all(np.array_equal(a, 2 * b) for a, b in zip(sums, sent[number - 1], strict=True))


def test_weights_of_two_messages_of_one_call_are_both_looked_after(talk: Callable[..., Talk]) -> None:
    held: list[Weights] = []

    def hold_first(message: Message, worker: WorkerChannel) -> RecordDict:
        if not held:
            held.append(record_weights(arrays_in(message.content)))
        return doubled(message, worker)

    conversation = talk(hold_first)
    content = RecordDict({"arrays": weights_record(WEIGHTS)})
    messages = [Message(content, 2, "train") for _ in range(2)]
    placement = Placement(messages, conversation.weights)
    for message in messages:
        assert conversation.channel.request(message, placement, 5.0) is not None
    assert not conversation.channel.has_released
    conversation.ask(tuple(7 * w for w in WEIGHTS))
    for s, w in zip(held[0], WEIGHTS, strict=True):
        np.testing.assert_array_equal(s, w)


def test_a_worker_that_is_busy_has_not_released(talk: Callable[..., Talk]) -> None:
    seen: list[bool] = []

    def look(message: Message, worker: WorkerChannel) -> RecordDict:
        seen.append(conversation.channel.has_released)
        return doubled(message, worker)

    conversation = talk(look)
    conversation.ask(WEIGHTS)
    assert seen == [False] and conversation.channel.has_released


def test_a_segment_that_cannot_grow_leaves_arrays_to_the_socket(
    talk: Callable[..., Talk], monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = talk(in_part)

    def full(descriptor: int, size: int) -> None:
        raise OSError(errno.EFBIG, "too large")

    monkeypatch.setattr(os, "ftruncate", full)
    for _ in range(2):
        total = sum_of(conversation.ask(WEIGHTS))
        for s, w in zip(total.sums, WEIGHTS, strict=True):
            np.testing.assert_array_equal(s, 2 * w)


def test_what_a_worker_did_not_lay_out_goes_through_the_socket(talk: Callable[..., Talk]) -> None:
    """First weights stay with the server for the whole run: the segment is not for them."""
    conversation = talk(lambda message, worker: RecordDict({"arrays": weights_record(WEIGHTS)}))
    reply = conversation.ask(WEIGHTS)
    assert not is_laid(vectors_of(reply))


def test_flower_reads_a_laid_array_as_any_other(talk: Callable[..., Talk]) -> None:
    reply = talk(doubled).ask(WEIGHTS)
    record = vectors_of(reply)
    assert is_laid(record)
    np.testing.assert_array_equal(record["1"].numpy(), 2 * WEIGHTS[1])
    assert len(message_to_proto(reply).SerializeToString()) > 8 * 40_000
    copied = ArrayRecord(dict(record.items()))
    assert copied["1"].data == record["1"].data and not is_laid(copied)


def test_the_arrays_of_a_round_are_put_once_for_all_workers() -> None:
    take_identity()
    segment, record = Segment.create(), record_of(WEIGHTS)
    assert segment is not None
    content = RecordDict({"arrays": record})
    placement = Placement([Message(content, node, "train") for node in (2, 3, 4)], segment)
    used = sum(-(-len(a.data) // 64) * 64 for a in record.values())
    (start, _) = struct.unpack("<QQ", segment.allocate(1).reference)
    assert start == 64 + used and all(placement.reference(a) for a in record.values())


@pytest.mark.parametrize("lacks", [True, False])
def test_without_files_in_memory_all_goes_through_the_socket(
    talk: Callable[..., Talk], monkeypatch: pytest.MonkeyPatch, lacks: bool
) -> None:
    def refuse(name: str) -> int:
        raise OSError(errno.ENOSYS, "not here")

    if lacks:
        monkeypatch.delattr(os, "memfd_create")
    else:
        monkeypatch.setattr(os, "memfd_create", refuse)
    conversation = talk(doubled)
    for _ in range(2):
        reply = conversation.ask(WEIGHTS)
        total = sum_of(reply)
        assert not is_laid(vectors_of(reply)) and total.failed == 0
        for s, w in zip(total.sums, WEIGHTS, strict=True):
            np.testing.assert_array_equal(s, 2 * w)
