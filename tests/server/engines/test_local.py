"""An engine that is closed during a round: workers that still train are not waited for, and none is started again."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message

from fedlm.messages.fields import weights_record
from fedlm.messages.training import TrainRequest
from server.engines.base import replies_to
from server.engines.local import LocalEngine
from server.engines.workers import WorkerCommand

pytestmark = pytest.mark.flower
# A worker that reads and never answers, nor ends when its channel is closed.
SILENT = "import socket, sys, time; s = socket.socket(fileno=int(sys.argv[1])); s.recv(9); time.sleep(60)"


def asked(node: int) -> Message:
    """Returns a message to a node, once an engine of this process is open."""
    request = TrainRequest("{}", 1, np.zeros(1, np.uint64), weights_record(()))
    return Message(request.content(), node, request.kind)


class Silent(WorkerCommand):
    """A command whose processes never answer."""

    started = 0

    def arguments(self, channel: Sequence[int]) -> list[str]:
        Silent.started += 1
        return [sys.executable, "-S", "-c", SILENT, str(channel[0])]


def test_an_interrupt_in_a_round_ends_all_workers_at_once() -> None:
    Silent.started, count = 0, 3
    engine = LocalEngine(Silent(Path("none")), count)
    processes: list[subprocess.Popen[bytes]] = [worker.process for worker in engine._workers.values()]
    messages = [asked(node) for node in engine.nodes * 2]
    replies: list[Message] = []
    round_ = threading.Thread(target=lambda: replies.extend(replies_to(engine, messages, None)))
    with engine:
        round_.start()
        time.sleep(1.0)  # all wait for an answer
        begun = time.monotonic()
    assert time.monotonic() - begun < 3.0
    round_.join(3.0)
    assert not round_.is_alive()
    assert all(process.poll() is not None for process in processes)
    assert Silent.started == count
    assert len(replies) == 2 * count and all(reply.has_error() for reply in replies)


def test_workers_that_do_not_end_share_the_time_to_do_so() -> None:
    begun = time.monotonic()
    with LocalEngine(Silent(Path("none")), 3) as engine:
        workers = list(engine._workers.values())
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
    with LocalEngine(Dying(Path("none")), 1, tell=said.append) as engine:
        assert engine.faults == {}
        (reply,) = replies_to(engine, [asked(2)], None)
        assert reply.has_error() and "lost" in reply.error.reason
        assert engine.faults == {"lost_workers": 2}  # the second one, too
    assert len(said) == 2 and all("was killed by signal 9 (out of memory?)" in sentence for sentence in said)


def test_a_worker_that_takes_too_long_is_told() -> None:
    said: list[str] = []
    with LocalEngine(Silent(Path("none")), 1, tell=said.append) as engine:
        (reply,) = replies_to(engine, [asked(2)], 0.5)
    assert reply.has_error()
    assert len(said) == 1 and "took too long" in said[0]


def test_what_waits_for_a_late_worker_is_given_up_with_it_and_no_worker_is_lost_over_it() -> None:
    said: list[str] = []
    with LocalEngine(Silent(Path("none")), 1, tell=said.append) as engine:
        begun = time.monotonic()
        replies = replies_to(engine, [asked(2)] * 5, 0.5)
        assert time.monotonic() - begun < 4.0
        assert engine.faults == {"lost_workers": 1} and len(said) == 1
    assert len(replies) == 5 and all(reply.has_error() for reply in replies)
