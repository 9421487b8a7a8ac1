"""The open door, ours, nginx's and Caddy's where they are installed: the fleet API only, written anew, whatever a request looks like."""

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from clients.deploy.folder import free_port
from server.deploy.certificates import create_authority, create_server_certificate
from server.deploy.coordinator import open_port
from server.deploy.gateway import Proxy, write_configurations

LARGEST = 2**20
IDLE_SECONDS = 0.5
PROGRAMS = {
    name: shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin") for name in ("nginx", "caddy")
}


class SuperLink(BaseHTTPRequestHandler):
    """Answers with what reached it, and hangs up when a connection is idle, as Flower's does after 5 seconds."""

    protocol_version, timeout = "HTTP/1.1", IDLE_SECONDS
    seen: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(self.path)
        answer = f"{self.path} {len(body)} {self.headers['Host']} {self.headers.get('flwr-public-key')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def own_door(port: int, backend: int, folder: Path) -> Iterator[None]:
    loop = asyncio.new_event_loop()
    task = loop.create_task(Proxy(backend, folder, LARGEST).serve(open_port("127.0.0.1", port)))
    thread = threading.Thread(target=lambda: suppressed(loop, task), daemon=True)
    thread.start()
    yield
    loop.call_soon_threadsafe(task.cancel)
    thread.join(20)


def suppressed(loop: asyncio.AbstractEventLoop, task: "asyncio.Task[None]") -> None:
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(task)
    connections = asyncio.all_tasks(loop)  # as asyncio.run does; one that is left ends in another test's garbage
    for connection in connections:
        connection.cancel()
    if connections:
        loop.run_until_complete(asyncio.gather(*connections, return_exceptions=True))
    loop.close()


def nginx_door(port: int, backend: int, folder: Path) -> Iterator[None]:
    write_configurations(folder, port, backend, LARGEST)
    (folder / "main.conf").write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
        f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
        f"include {folder}/nginx.conf; }}\n"
    )
    words = [
        str(PROGRAMS["nginx"]),
        "-e",
        str(folder / "error.log"),
        "-p",
        str(folder),
        "-c",
        str(folder / "main.conf"),
    ]
    with subprocess.Popen(words) as process:
        yield
        process.terminate()


def caddy_door(port: int, backend: int, folder: Path) -> Iterator[None]:
    write_configurations(folder, port, backend, LARGEST)
    words = [str(PROGRAMS["caddy"]), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "caddy.log").open("w") as log, subprocess.Popen(words, env=home, stderr=log) as process:
        yield
        process.terminate()


DOORS = {"own": own_door, "nginx": nginx_door, "caddy": caddy_door}


@pytest.fixture(scope="module", params=list(DOORS))
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client in front of a door in front of a SuperLink that says what it got."""
    if PROGRAMS.get(request.param, "") is None:
        assert not os.environ.get("CI"), f"{request.param} is missing; .ci/run installs it"
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp("door")
    folder.chmod(0o755)  # nginx' workers are another user
    create_authority(folder)
    create_server_certificate(folder, [])
    SuperLink.seen = []
    backend = ThreadingHTTPServer(("127.0.0.1", 0), SuperLink)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    backend.socket = context.wrap_socket(backend.socket, server_side=True)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    port = free_port()
    running = DOORS[request.param](port, backend.server_port, folder)
    next(running)
    verify = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    try:
        with httpx.Client(verify=verify, base_url=f"https://127.0.0.1:{port}", timeout=60) as client:
            wait_for_port(port)
            yield client
    finally:
        next(running, None)
        backend.shutdown()
        backend.server_close()


def wait_for_port(port: int) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < end, "the door did not open"
            time.sleep(0.05)


def send(door: httpx.Client, target: str, method: str = "POST") -> httpx.Response:
    """Sends a request whose target is not tidied up on its way."""
    request = door.build_request(method, "/x", content=b"")
    request.extensions["target"] = target.encode()
    return door.send(request)


def test_a_fleet_call_passes_with_its_body_and_headers(door: httpx.Client) -> None:
    answer = door.post("/v1/fleet/push-object", content=b"x" * 300_000, headers={"flwr-public-key": "k"})
    assert answer.text.split() == ["/v1/fleet/push-object", "300000", "127.0.0.1", "k"]


@pytest.mark.parametrize(
    "target",
    [
        "/v1/control/start-run",
        "/v1/control/register-node",
        "/v1/runtime/acquire-task",
        "/docs",
        "/",
        "/v1/fleet/",
        "/v1/fleet/Push-Object",
        "/v1/fleet/x/y",
        "/v1/fleet/../control/start-run",
        "/v1/fleet/%2e%2e/control/start-run",
        "/v1/fleet/x%0a",
        "/v1/fleet/x%2f..%2f..%2fcontrol%2fstart-run",
        "/v1/control/start-run%3f/v1/fleet/x",
        "/v1/control/start-run#/v1/fleet/x",
    ],
)
def test_anything_else_is_refused_and_nothing_reaches_the_superlink(door: httpx.Client, target: str) -> None:
    before = len(SuperLink.seen)
    assert send(door, target).status_code == 403
    assert len(SuperLink.seen) == before


def test_a_path_that_means_a_fleet_call_arrives_as_that_call_or_not_at_all(door: httpx.Client) -> None:
    for target in ("/v1/control/../fleet/x", "/v1//fleet/x", "/v1/fleet/%78", "/v1/fleet/x?/../../control/start-run"):
        before = len(SuperLink.seen)
        status = send(door, target).status_code
        assert (status, SuperLink.seen[before:]) in ((403, []), (200, ["/v1/fleet/x"])), target


def test_other_methods_and_large_bodies_are_refused(door: httpx.Client) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert send(door, "/v1/fleet/x", method).status_code == 403
    assert door.post("/v1/fleet/x", content=b"x" * (LARGEST + 1)).status_code == 413


def test_a_connection_that_the_superlink_hung_up_costs_no_request(door: httpx.Client) -> None:
    for _ in range(2):  # the node's own connection to the door stays open meanwhile
        assert door.post("/v1/fleet/x", content=b"").status_code == 200
        time.sleep(2 * IDLE_SECONDS)
    assert door.post("/v1/fleet/x", content=b"").status_code == 200
