"""Heartbeats for a task: what a server says of the claim, and what its silence does not say."""

import http.server
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flwr.proto.runtime_pb2 import SendTaskHeartbeatResponse  # pylint: disable=E0611

from clients.ipc import claims
from clients.ipc.claims import is_claimed, keeping, runtime_client

pytestmark = pytest.mark.flower


@contextmanager
def server(path: Path, *answers: tuple[int, bool]) -> Iterator[list[str]]:
    """Serves the runtime API's heartbeat on a Unix socket: each answer once, the last one from then on."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            status, success = answers[min(len(asked), len(answers) - 1)]
            asked.append(self.path)
            body = SendTaskHeartbeatResponse(success=success).SerializeToString()
            self.send_response(status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "a Unix socket"

        def log_message(self, *_: object) -> None: ...

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as serving:
        serving.daemon_threads = True
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield asked
        serving.shutdown()


@pytest.mark.parametrize(
    ("status", "success", "claimed"),
    [(200, True, True), (200, False, False), (401, False, False), (500, False, True), (503, False, True)],
)
def test_only_the_servers_word_ends_a_claim(tmp_path: Path, status: int, success: bool, claimed: bool) -> None:
    with server(tmp_path / "s", (status, success)), runtime_client(tmp_path / "s", token="t") as client:
        assert is_claimed(client) == claimed


def test_a_server_that_does_not_respond_says_nothing(tmp_path: Path) -> None:
    with runtime_client(tmp_path / "nobody", token="t") as client:
        assert is_claimed(client)


def test_heartbeats_end_with_the_claim_and_interrupt_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.01)
    with server(tmp_path / "s", (200, True), (200, True), (401, False)) as asked:
        with runtime_client(tmp_path / "s", token="t") as client, keeping(client):
            for _ in range(500):
                if len(asked) >= 3:
                    break
                threading.Event().wait(0.01)
            threading.Event().wait(0.1)
        assert len(asked) == 3
