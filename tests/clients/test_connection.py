"""A node reaches its coordinator as Flower does: through the proxy of the environment, unless the host is excepted."""

import socket
import threading
from pathlib import Path

import pytest

from clients.deploy.connection import problem_with


def proxy(asked: list[bytes], status: bytes) -> int:
    """Starts a proxy that notes one request and answers with a status; returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            channel, _ = listener.accept()
            with channel:
                asked.append(channel.recv(4096))
                channel.sendall(b"HTTP/1.1 " + status + b"\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    import certifi

    return Path(certifi.where())


@pytest.mark.parametrize(("status", "says"), [(b"403 Forbidden", "403 Forbidden"), (b"200 OK", ""), (b"?", "")])
def test_a_node_asks_the_proxy_for_its_coordinator(
    status: bytes, says: str, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    monkeypatch.setenv("https_proxy", f"http://ann:s%40x@127.0.0.1:{proxy(asked, status)}")
    problem = problem_with("fl.example.org:9443", authority)  # which ends after the handshake with nobody
    assert asked and asked[0].startswith(b"CONNECT fl.example.org:9443")
    assert b"Proxy-Authorization: Basic YW5uOnNAeA==" in asked[0]
    assert problem.count("\n") == 0 and problem.endswith(".") and says in problem


def test_a_host_that_is_excepted_is_reached_directly(authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy(asked, b'200 OK')}")
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "No coordinator responds" in problem_with(f"127.0.0.1:{port}", authority)
    assert asked == []
