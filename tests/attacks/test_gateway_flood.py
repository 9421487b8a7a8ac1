"""Strangers open connections and say nothing, or nearly nothing: honest nodes are served on, and the logs stay small.

Once, 140 silent connections at a limit of 120 descriptors locked every node out, and wrote 66,000 lines into the log.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.coordinators import Coordinator, answer, coordinator, ends_within

pytestmark = pytest.mark.flower
DESCRIPTORS, HEAD_SECONDS = 120, 3.0
LOG_BYTES = 20_000
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # the first bytes of a TLS ClientHello


@pytest.fixture(scope="module")
def running() -> Iterator[Coordinator]:
    with coordinator(f"head_seconds = {HEAD_SECONDS}", DESCRIPTORS) as made:
        yield made


def sources(count: int, addresses: int) -> list[str]:
    """Returns addresses of loopback, each as often as the others."""
    return [f"127.0.{1 + place % addresses // 250}.{1 + place % addresses % 250}" for place in range(count)]


def silent(running: Coordinator, source: str) -> socket.socket:
    return running.connect(source)


def half_a_hello(running: Coordinator, source: str) -> socket.socket:
    channel = running.connect(source)
    channel.sendall(HELLO)
    return channel


def half_a_head(running: Coordinator, source: str) -> socket.socket:
    channel = running.secured(source)
    channel.sendall(b"POST /v1/fleet/get-run HTTP/1.1\r\nHost: h\r\n")
    return channel


def garbage(running: Coordinator, source: str) -> socket.socket:
    channel = running.connect(source)
    channel.sendall(bytes(range(256)) * 64)
    return channel


def http2(running: Coordinator, source: str) -> socket.socket:
    channel = running.secured(source)
    channel.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" * 1000)
    return channel


def huge_head(running: Coordinator, source: str) -> socket.socket:
    channel = running.secured(source)
    channel.sendall(b"POST /v1/fleet/get-run HTTP/1.1\r\n" + b"X: y\r\n" * 100_000)
    return channel


def endless_line(running: Coordinator, source: str) -> socket.socket:
    channel = running.secured(source)
    channel.sendall(b"a" * 500_000)
    return channel


Attack = Callable[[Coordinator, str], socket.socket]
ATTACKS = [silent, half_a_hello, half_a_head, garbage, http2, huge_head, endless_line]


@pytest.mark.parametrize("addresses", [1, 140])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_house_full_of_strangers_has_room_for_a_node(running: Coordinator, attack: Attack, addresses: int) -> None:
    before = running.log_bytes()
    with contextlib.ExitStack() as stack:
        for source in sources(140, addresses):
            with contextlib.suppress(OSError):  # the gateway may hang up while we still write
                stack.enter_context(attack(running, source))
        for _ in range(3):
            assert running.serves()
    assert running.log_bytes() - before < LOG_BYTES


@pytest.mark.parametrize("addresses", [1, 60])
def test_a_flood_that_goes_on_costs_a_node_seconds_at_most(running: Coordinator, addresses: int) -> None:
    ended, before = threading.Event(), running.log_bytes()

    def flood(place: int) -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
                for source in sources(60, addresses):
                    stack.enter_context(silent(running, source))
                ended.wait(0.2 + place / 10)

    threads = [threading.Thread(target=flood, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            time.sleep(0.5)
            assert running.serves(seconds=10)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert running.log_bytes() - before < LOG_BYTES


def trickle(channel: socket.socket, content: bytes, seconds: float) -> None:
    """Sends a byte at a time, in the background, until the other side hangs up."""

    def send() -> None:
        with contextlib.suppress(OSError):
            for place in range(len(content)):
                channel.sendall(content[place : place + 1])
                time.sleep(seconds)

    threading.Thread(target=send, daemon=True).start()


def test_whoever_does_not_finish_a_head_in_time_is_hung_up_on(running: Coordinator) -> None:
    slow = running.secured()
    trickle(slow, running.head("get-run", 0), 0.2)
    hello = running.connect()
    trickle(hello, HELLO + bytes(600), 0.2)
    channels = [slow, hello, silent(running, "127.0.0.1"), half_a_hello(running, "127.0.0.1")]
    channels += [half_a_head(running, "127.0.0.1"), running.secured()]
    end = time.monotonic() + HEAD_SECONDS + 3.0
    for channel in channels:
        with channel:
            assert ends_within(channel, max(end - time.monotonic(), 0.01))


def test_a_node_that_has_signed_once_is_no_stranger(running: Coordinator) -> None:
    """Its open connection survives a flood of strangers from its own address, and serves its next request."""
    with running.secured() as channel, contextlib.ExitStack() as stack:
        for _ in range(2):
            channel.sendall(running.head("get-run", 0))
            assert answer(channel)
            for source in sources(140, 1):
                stack.enter_context(silent(running, source))
            time.sleep(HEAD_SECONDS + 0.5)


def test_a_node_with_too_many_connections_loses_its_oldest(running: Coordinator) -> None:
    with contextlib.ExitStack() as stack:
        channels = [stack.enter_context(running.secured()) for _ in range(2)]
        for place in range(40):
            channel = stack.enter_context(running.secured())
            channel.sendall(running.head("get-run", 0))
            assert answer(channel), place
            channels.append(channel)
        assert ends_within(channels[2], 2.0)
        assert not ends_within(channels[-1], 0.2)
        assert running.serves()


def test_the_descriptors_are_raised_and_never_run_out(running: Coordinator) -> None:
    limits = Path(f"/proc/{running.process.pid}/limits").read_text()
    (row,) = [line.split() for line in limits.splitlines() if line.startswith("Max open files")]
    assert row[3:5] == [str(DESCRIPTORS)] * 2
    with contextlib.ExitStack() as stack:
        for source in sources(140, 140):
            stack.enter_context(silent(running, source))
        time.sleep(0.5)
        assert len(list(Path(f"/proc/{running.process.pid}/fd").iterdir())) < DESCRIPTORS * 2 / 3
    said = (running.folder.path / "supervisor.log").read_text()
    assert "could not be accepted" not in said and "Traceback" not in said, said
