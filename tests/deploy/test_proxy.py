"""A machine whose environment names a proxy: the calls of a deployment on loopback never reach it."""

import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployments import SMALL, fedlm, processes, sets
from tests.support.guard import guard

pytestmark = [pytest.mark.slow, pytest.mark.flower]
NAMES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")


class Proxy:
    """A proxy that closes every connection, and keeps what was asked of it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked = list[bytes]()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(200))

    def close(self) -> None:
        """Ends it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    found = Proxy()
    for name in NAMES:
        monkeypatch.setenv(name, found.url)
        monkeypatch.setenv(name.upper(), found.url)
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield found
    found.close()


def test_a_deployment_on_loopback_takes_no_proxy(proxy: Proxy, tmp_path: Path) -> None:
    settings = [*SMALL, "rounds=1", "eval_every=1"]
    with guard([sys.executable, "-m", "fedlm", "deploy", "down", "d"], tmp_path):
        made = fedlm("deploy", "init", "d", "--nodes", 1, *sets(settings), cwd=tmp_path)
        assert made.returncode == 0, made.stderr
        try:
            up = fedlm("deploy", "up", "d", cwd=tmp_path)
            assert up.returncode == 0, up.stderr
            environments = [Path(f"/proc/{process}/environ").read_bytes() for process in processes(tmp_path / "d")]
            named = [f"https_proxy={proxy.url}".encode() in found.split(b"\0") for found in environments]
            assert len(named) >= 4 and all(named)  # each of them would take it
            done = fedlm("deploy", "run", "d", "--out", "run", "--json", cwd=tmp_path)
            assert done.returncode == 0, done.stderr
        finally:
            down = fedlm("deploy", "down", "d", cwd=tmp_path)
    assert down.returncode == 0, down.stderr
    assert json.loads(done.stdout)["final"]["tokens"] > 0
    assert proxy.asked == []
    with socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2]))) as called:
        called.sendall(b"CONNECT")
        assert called.recv(1) == b""
    assert proxy.asked == [b"CONNECT"]  # it does keep it
