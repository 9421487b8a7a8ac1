"""Chunks over a network that loses messages, nodes that start anew, and replies that are not to the chunk."""

import uuid
from collections.abc import Callable, Iterable
from types import SimpleNamespace

import pytest
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from server.engines import network as network_engine
from server.engines.local import take_identity
from server.engines.network import PatientGrid

pytestmark = pytest.mark.flower
NODE, RUN = 7, 5


class Network(Grid):
    """One node behind a network; what happens to the message that goes out as the n-th (from 0) is said by a function.

    Args:
      fate: answers how many replies come, and which run they say they are to.
    """

    def __init__(self, fate: Callable[[int], tuple[int, int]]) -> None:
        self.fate, self.sent, self.activated = fate, 0, "first"
        self._replies: list[Message] = []

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = uuid.uuid4().hex
            count, run = self.fate(self.sent)
            self.sent += 1
            config = message.content.config_records["config"]
            echo = ConfigRecord({"run": str(run), "chunk": str(config["chunk"])})
            self._replies += [Message(RecordDict({"echo": echo}), reply_to=message) for _ in range(count)]
            ids.append(message.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        found, self._replies = self._replies, []
        return found

    def get_nodes(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(node_id=NODE, last_activated_at=self.activated)]

    def get_node_ids(self) -> Iterable[int]:
        return [NODE]

    def set_run(self, run: Run) -> None: ...

    @property
    def run(self) -> Run:
        return Run.create_empty(RUN)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return []


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    take_identity()
    monkeypatch.setattr(network_engine, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(network_engine, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(network_engine, "_SILENCE_SECONDS", 0.1)


def exchange(network: Network, timeout: float = 60) -> tuple[PatientGrid, Message]:
    grid = PatientGrid(network)
    message = Message(RecordDict({"config": ConfigRecord()}), NODE, MessageType.TRAIN)
    (reply,) = grid.send_and_receive([message], timeout=timeout)
    return grid, reply


def test_what_was_lost_without_a_word_goes_out_again() -> None:
    network = Network(lambda n: (int(n == 2), RUN))
    grid, reply = exchange(network)
    assert (reply.has_error(), network.sent, grid.resent, grid.refused) == (False, 3, 2, 0)


def test_the_first_reply_counts() -> None:
    grid, reply = exchange(Network(lambda n: (2, RUN)))
    assert (reply.has_error(), grid.resent, grid.refused) == (False, 0, 1)


def test_a_reply_to_another_run_is_refused() -> None:
    grid, reply = exchange(Network(lambda n: (1, RUN + 1)))
    assert (reply.has_error(), grid.refused) == (True, 1)
    assert "not to this message" in reply.error.reason


def test_a_node_that_started_anew_gets_its_chunk_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_engine, "_SILENCE_SECONDS", 1e9)

    def dies(number: int) -> tuple[int, int]:
        network.activated = "again"
        return int(number == 1), RUN

    network = Network(dies)
    grid, reply = exchange(network)
    assert (reply.has_error(), grid.resent) == (False, 1)


def test_a_node_that_says_nothing_is_left_out_after_the_timeout() -> None:
    _, reply = exchange(Network(lambda n: (0, RUN)), timeout=0.3)
    assert reply.has_error() and "did not answer in time" in reply.error.reason
    assert reply.metadata.src_node_id == NODE


def test_flowers_database_waits_for_a_lock() -> None:
    from flwr.supercore.constant import SQLITE_PRAGMAS

    from server.deploy.superlink import patient_pragmas

    assert dict(patient_pragmas()) == {**dict(SQLITE_PRAGMAS), "busy_timeout": "60000"}
