"""Chunks over a network that loses messages, nodes that start anew, and replies that are not to the chunk."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from flwr.app import ConfigRecord, Message, MessageType, RecordDict

from fedlm.messages.delivery import Delivery
from server.engines import network as network_engine
from server.engines.base import replies_to
from server.engines.local import take_identity
from server.engines.network import NetworkEngine
from tests.support.grids import RUN, MemoryGrid

pytestmark = pytest.mark.flower
NODE = 7


def network(fate: Callable[[int], tuple[int, int]]) -> MemoryGrid:
    """Returns a network with one node; what happens to the n-th message sent (from 0) is said by a function.

    Args:
      fate: answers how many replies come, and which run they say they are to.
    """

    def answer(message: Message) -> list[Message]:
        count, run = fate(len(grid.sent) - 1)
        delivery, content = Delivery.of(message.content), RecordDict()
        assert delivery is not None
        replace(delivery, run=str(run)).echo(content)
        return [Message(content, reply_to=message) for _ in range(count)]

    grid = MemoryGrid(answer, [NODE])
    return grid


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    take_identity()
    monkeypatch.setattr(network_engine, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(network_engine, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(network_engine, "_SILENCE_SECONDS", 0.1)


def exchange(grid: MemoryGrid, timeout: float = 60) -> tuple[NetworkEngine, Message]:
    engine = NetworkEngine(grid, str(RUN))
    message = Message(RecordDict({"config": ConfigRecord()}), NODE, MessageType.TRAIN)
    (reply,) = replies_to(engine, [message], timeout)
    return engine, reply


def test_what_was_lost_without_a_word_goes_out_again() -> None:
    grid = network(lambda n: (int(n == 2), RUN))
    engine, reply = exchange(grid)
    assert (reply.has_error(), len(grid.sent), engine.resent, engine.refused) == (False, 3, 2, 0)


def test_the_first_reply_counts() -> None:
    engine, reply = exchange(network(lambda n: (2, RUN)))
    assert (reply.has_error(), engine.resent, engine.refused) == (False, 0, 1)


def test_a_reply_to_another_run_is_refused() -> None:
    engine, reply = exchange(network(lambda n: (1, RUN + 1)))
    assert (reply.has_error(), engine.refused) == (True, 1)
    assert "belongs to another message" in reply.error.reason


def test_a_node_that_started_anew_gets_its_chunk_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_engine, "_SILENCE_SECONDS", 1e9)

    def dies(number: int) -> tuple[int, int]:
        grid.activated = "again"
        return int(number == 1), RUN

    grid = network(dies)
    engine, reply = exchange(grid)
    assert (reply.has_error(), engine.resent) == (False, 1)


def test_a_node_that_says_nothing_is_left_out_after_the_timeout() -> None:
    _, reply = exchange(network(lambda n: (0, RUN)), timeout=0.3)
    assert reply.has_error() and "did not reply in time" in reply.error.reason
    assert reply.metadata.src_node_id == NODE


def test_flowers_database_waits_for_a_lock() -> None:
    from flwr.supercore.constant import SQLITE_PRAGMAS

    from server.deploy.superlink import patient_pragmas

    assert dict(patient_pragmas()) == {**dict(SQLITE_PRAGMAS), "busy_timeout": "60000"}
