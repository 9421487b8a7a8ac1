"""The end of a grid in the middle of a round: workers that still train are not waited for, and none is started again."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message, MessageType

from fedlm.messages import wire
from server.engines.local import LocalEngine
from server.engines.workers import WorkerCommand

pytestmark = pytest.mark.flower
# A worker that reads and never answers, nor ends when its channel is closed.
SILENT = "import socket, sys, time; s = socket.socket(fileno=int(sys.argv[1])); s.recv(9); time.sleep(60)"


class Silent(WorkerCommand):
    """A command whose processes never answer."""

    started = 0

    def arguments(self, channel: Sequence[int]) -> list[str]:
        Silent.started += 1
        return [sys.executable, "-S", "-c", SILENT, str(channel[0])]


def test_an_interrupt_in_a_round_ends_all_workers_at_once() -> None:
    Silent.started, count = 0, 3
    grid = LocalEngine(Silent(Path("none")), count)
    processes: list[subprocess.Popen[bytes]] = [worker.process for worker in grid._workers.values()]
    content = wire.request(None, np.zeros(1, np.uint64), "{}", 1, 1)
    messages = [Message(content, node, MessageType.TRAIN) for node in [*grid.get_node_ids()] * 2]
    replies: list[Message] = []
    round_ = threading.Thread(target=lambda: replies.extend(grid.send_and_receive(messages)))
    with grid:
        round_.start()
        time.sleep(1.0)  # all wait for an answer
        begun = time.monotonic()
    assert time.monotonic() - begun < 3.0
    round_.join(3.0)
    assert not round_.is_alive()
    assert all(process.poll() is not None for process in processes)
    assert Silent.started == count
    assert all(reply.has_error() for reply in replies)


def test_workers_that_do_not_end_share_the_time_to_do_so() -> None:
    begun = time.monotonic()
    with LocalEngine(Silent(Path("none")), 3) as grid:
        workers = list(grid._workers.values())
        time.sleep(0.5)
    assert time.monotonic() - begun < 9.0
    assert all(worker.process.poll() is not None for worker in workers)


DYING = "import os, socket, sys; s = socket.socket(fileno=int(sys.argv[1])); s.recv(9); os.kill(os.getpid(), 9)"


class Dying(WorkerCommand):
    """A command whose processes die over their first message."""

    def arguments(self, channel: Sequence[int]) -> list[str]:
        return [sys.executable, "-S", "-c", DYING, str(channel[0])]


def test_a_lost_worker_is_told_and_counted() -> None:
    said: list[str] = []
    with LocalEngine(Dying(Path("none")), 1, tell=said.append) as grid:
        assert grid.faults == {}
        content = wire.request(None, np.zeros(1, np.uint64), "{}", 1, 1)
        (reply,) = grid.send_and_receive([Message(content, 2, MessageType.TRAIN)])
        assert reply.has_error() and "lost" in reply.error.reason
        assert grid.faults == {"lost_workers": 2}  # the second one, too
    assert len(said) == 2 and all("was ended by signal 9 (out of memory?)" in sentence for sentence in said)


def test_a_worker_that_takes_too_long_is_told() -> None:
    said: list[str] = []
    with LocalEngine(Silent(Path("none")), 1, tell=said.append) as grid:
        content = wire.request(None, np.zeros(1, np.uint64), "{}", 1, 1)
        (reply,) = grid.send_and_receive([Message(content, 2, MessageType.TRAIN)], timeout=0.5)
    assert reply.has_error()
    assert len(said) == 1 and "took too long" in said[0]
