"""Bodies before names: megabytes from strangers, bodies that never end, and what hides behind a signed request.

The gateway passed bodies on before anybody knew who sent them: the SuperLink grew from 148 to 542 MB.
"""

import contextlib
import datetime
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.supercore.date import now

from tests.support.coordinators import MEGABYTE, Coordinator, answer, coordinator, ends_within
from tests.support.deployments import wait_until
from tests.support.signing import signature

pytestmark = pytest.mark.flower
STALL_SECONDS = 2.0
LARGEST = 64 * MEGABYTE


@pytest.fixture(scope="module")
def running() -> Iterator[Coordinator]:
    with coordinator(f"stall_seconds = {STALL_SECONDS}\nbytes_per_second = 100_000") as made:
        yield made


def forged(running: Coordinator) -> list[dict[str, str]]:
    """Returns headers that name the admitted key, or none, and are not signed with it just now."""
    mine, theirs = signature(running.key), signature(ec.generate_private_key(ec.SECP384R1()))
    long_ago = (now() - datetime.timedelta(seconds=400)).isoformat()
    ahead = (now() + datetime.timedelta(seconds=60)).isoformat()
    return [
        {},
        theirs,
        {**mine, "flwr-signature": theirs["flwr-signature"]},
        {**theirs, "flwr-public-key": mine["flwr-public-key"]},
        {**mine, "flwr-timestamp": now().isoformat()},  # not the one that was signed
        {**mine, "flwr-signature": ""},
        {**mine, "flwr-signature": "%%%"},
        {**mine, "flwr-public-key": mine["flwr-public-key"][:-4]},
        signature(running.key, long_ago),
        signature(running.key, ahead),
        signature(running.key, now().replace(tzinfo=None).isoformat()),
        signature(running.key, "never"),
        {name: value for name, value in mine.items() if name != "flwr-timestamp"},
    ]


def client(running: Coordinator) -> httpx.Client:
    authority = str(running.folder.path / "ca.pem")
    return httpx.Client(base_url=f"https://127.0.0.1:{running.folder.port}/v1/fleet", verify=authority, timeout=20)


def test_no_body_of_a_stranger_reaches_the_superlink(running: Coordinator) -> None:
    before, calls = running.memory_mb(), running.calls()
    body = b"x" * (20 * MEGABYTE)
    for headers in forged(running):
        with client(running) as stranger:
            assert stranger.post("/push-object", content=body, headers=headers).status_code == 401, headers
    assert running.calls() == calls
    assert running.memory_mb() < before + 10


def test_headers_that_are_given_twice_are_no_signature(running: Coordinator) -> None:
    mine, theirs = signature(running.key), signature(ec.generate_private_key(ec.SECP384R1()))
    for name in mine:
        for more in (mine[name], theirs[name]):
            with client(running) as stranger:
                headers = [*mine.items(), (name, more)]
                assert stranger.post("/get-run", content=b"", headers=headers).status_code == 401


def test_the_name_of_a_call_bounds_its_body(running: Coordinator) -> None:
    """A node sends megabytes in objects; everything else is names of objects and nodes."""
    calls = running.calls()
    for name, length in (("send-node-heartbeat", 2**16), ("push-messages", 2**22), ("push-object", LARGEST)):
        with running.secured() as channel:
            channel.sendall(running.head(name, length + 1))
            assert answer(channel).startswith(b"413"), name
    assert running.calls() == calls


def test_a_body_that_trickles_is_hung_up_on(running: Coordinator) -> None:
    """A byte now and then, bytes below the least rate, and a body that stops."""
    with contextlib.ExitStack() as stack:
        trickling = []
        for size in (1, 1000, 0):
            channel = stack.enter_context(running.secured())
            channel.sendall(running.head("push-object", LARGEST // 4) + b"x" * 1000)
            trickling.append(channel)

            def send(size: int = size, channel: object = channel) -> None:
                with contextlib.suppress(OSError):
                    while size:
                        channel.sendall(b"x" * size)  # type: ignore[attr-defined]
                        time.sleep(0.1)

            threading.Thread(target=send, daemon=True).start()
        end = time.monotonic() + STALL_SECONDS + 2.0
        for channel in trickling:
            assert ends_within(channel, max(end - time.monotonic(), 0.01))
    assert running.serves()


def test_a_body_at_the_least_rate_arrives(running: Coordinator) -> None:
    """Slow is allowed: 150 kB a second, longer than any stall may last."""
    with running.secured() as channel:
        steps = int(3 * STALL_SECONDS * 10)
        channel.sendall(running.head("push-object", steps * 15_000))
        for _ in range(steps):
            channel.sendall(b"\xff" * 15_000)
            time.sleep(0.1)
        assert answer(channel).startswith(b"400")  # the SuperLink's: it is no protobuf message


def test_one_node_cannot_fill_the_memory(running: Coordinator) -> None:
    """Its bodies on their way are never more than one of the largest size together: the others wait unread."""
    before, peak = running.memory_mb(), 0.0
    with contextlib.ExitStack() as stack:
        channels = [stack.enter_context(running.secured()) for _ in range(8)]
        for channel in channels:
            channel.sendall(running.head("push-object", LARGEST))
            threading.Thread(target=_send, args=(channel, LARGEST - 1), daemon=True).start()
        end = time.monotonic() + STALL_SECONDS + 4.0
        while time.monotonic() < end:
            peak = max(peak, running.memory_mb() - before)
            time.sleep(0.1)
        assert running.serves()  # small requests do not wait
    assert peak < 4 * LARGEST / MEGABYTE, peak


def _send(channel: object, length: int) -> None:
    with contextlib.suppress(OSError):
        for _ in range(length // MEGABYTE):
            channel.sendall(bytes(MEGABYTE))  # type: ignore[attr-defined]


def test_what_follows_a_signed_request_signs_for_itself(running: Coordinator) -> None:
    """Pipelined behind a node's request on the same connection, or inside its body: refused, or no request."""
    unsigned = running.head("never", 1000, signed=False) + b"x" * 1000
    for behind, refused in ((unsigned, b"401"), (b"\0\1\2garbage\r\n\r\n", b"400")):
        with running.secured() as channel:
            channel.sendall(running.head("first", 3) + b"abc" + behind)
            assert answer(channel).startswith(b"404")  # the SuperLink's
            assert answer(channel).startswith(refused)
            assert ends_within(channel, 5.0)
    with running.secured() as channel:
        channel.sendall(running.head("first", len(unsigned)) + unsigned)
        assert answer(channel).startswith(b"404")
    wait_until(lambda: running.calls("first") == 3, 10)
    assert running.calls("never") == 0


def test_an_expelled_node_is_a_stranger_within_a_second(running: Coordinator) -> None:
    file = running.folder.path / "nodes" / "a.pub"
    content = file.read_bytes()
    with running.secured() as channel:
        channel.sendall(running.head("first", 0))
        assert answer(channel).startswith(b"404")  # the SuperLink's
        file.unlink()
        try:
            time.sleep(1.2)
            channel.sendall(running.head("first", 0))
            assert answer(channel).startswith(b"401")
            with pytest.raises(httpx.HTTPStatusError) as refused:
                running.activate()
            assert refused.value.response.status_code == 412 and '"code": 2004' in refused.value.response.text
        finally:
            file.write_bytes(content)
    time.sleep(1.2)
    assert running.serves()


def test_a_damaged_key_in_the_folder_admits_nobody_and_keeps_nobody_out(running: Coordinator) -> None:
    file = running.folder.path / "nodes" / "b.pub"
    try:
        for content in (b"", b"ssh-rsa AAAA", b"\0" * 100, b"ecdsa-sha2-nistp384 AAAA=\n"):
            file.write_bytes(content)
            time.sleep(1.1)
            assert running.serves()
    finally:
        file.unlink()


def test_many_refusals_write_a_few_lines(running: Coordinator) -> None:
    before = running.log_bytes()
    for place in range(300):
        with contextlib.suppress(OSError), running.secured() as channel:  # or turned away: too many a second
            channel.sendall((b"GET / HTTP/1.1\r\n\r\n", running.head("get-run", 5, signed=False))[place % 2])
            channel.recv(65536)
    assert running.log_bytes() - before < 2000
