"""The gateway, and nginx and Caddy in its place where they are installed: the fleet API only, whatever a request looks like."""

import asyncio
import itertools
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from clients.deploy.folder import free_port
from server.deploy.certificates import create_authority, create_server_certificate
from server.deploy.coordinator import open_port
from server.deploy.fleet_request import Refusal, parsed_request, rebuilt
from server.deploy.gateway import Gateway
from server.deploy.limits import Limits
from server.deploy.proxies import write_configurations
from tests.support.signing import Signed, admitted_key, signature_lines

LARGEST, LARGE = 2**20, 2**26
LIMITS = Limits()
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
        if self.path.endswith("/large"):
            self.connection.settimeout(None)  # it waits for as long as the gateway does
            self.send_response(200)
            self.send_header("Content-Length", str(LARGE))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(bytes(LARGE))
            return
        if (frame := self.path.rpartition("/")[2]) in ("chunked", "close", "interim", "empty"):
            self.framed(frame)
            return
        answer = f"{self.path} {len(body)} {self.headers['Host']} {self.headers.get('x-more')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def framed(self, frame: str) -> None:
        """Answers the same bytes in chunks, up to the end of the connection, after an interim answer, or none."""
        content = b"a" * 100_000 + b"0\r\n\r\nb"  # what looks like the end of chunks is none
        if frame == "interim":
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n")
        self.send_response(204 if frame == "empty" else 200)
        if frame == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif frame == "close":
            self.send_header("Connection", "close")
        elif frame == "interim":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if frame == "chunked":
            self.wfile.write(b"%x\r\n" % len(content) + content + b"\r\n0\r\n\r\n")
        elif frame != "empty":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Backend(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """The SuperLink's server."""

    daemon_threads = True


def own_gateway(port: int, folder: Path, limits: Limits = LIMITS) -> Iterator[None]:
    loop = asyncio.new_event_loop()
    gateway = Gateway(folder / "superlink.sock", folder, LARGEST, limits)
    task = loop.create_task(gateway.serve(open_port("127.0.0.1", port)))
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


def behind(program: Iterator[None], backend: int, folder: Path) -> Iterator[None]:
    """Runs a program in front of our gateway on loopback, as with `gateway = false`."""
    ours = own_gateway(backend, folder, LIMITS.behind_a_proxy())
    next(ours)
    next(program)
    yield
    next(program, None)
    next(ours, None)


def nginx_gateway(port: int, folder: Path) -> Iterator[None]:
    yield from behind(nginx(port, backend := free_port(), folder), backend, folder)


def caddy_gateway(port: int, folder: Path) -> Iterator[None]:
    yield from behind(caddy(port, backend := free_port(), folder), backend, folder)


def nginx(port: int, backend: int, folder: Path) -> Iterator[None]:
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


def caddy(port: int, backend: int, folder: Path) -> Iterator[None]:
    write_configurations(folder, port, backend, LARGEST)
    words = [str(PROGRAMS["caddy"]), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "caddy.log").open("w") as log, subprocess.Popen(words, env=home, stderr=log) as process:
        yield
        process.terminate()


GATEWAYS = {"own": own_gateway, "nginx": nginx_gateway, "caddy": caddy_gateway}


@pytest.fixture(scope="module", params=list(GATEWAYS))
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a gateway before a SuperLink that says what reached it."""
    if PROGRAMS.get(request.param, "") is None:
        assert not os.environ.get("CI"), f"{request.param} is missing; .ci/run installs it"
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp("gateway")
    folder.chmod(0o755)  # nginx' workers are another user
    create_authority(folder)
    create_server_certificate(folder, [])
    SuperLink.seen = []
    backend = Backend(str(folder / "superlink.sock"), SuperLink)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    key = admitted_key(folder, folder)
    port = free_port()
    running = GATEWAYS[request.param](port, folder)
    next(running)
    verify = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    try:
        address = f"https://127.0.0.1:{port}"
        with httpx.Client(verify=verify, base_url=address, timeout=60, auth=Signed(key)) as client:
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
            assert time.monotonic() < end, "the port did not open"
            time.sleep(0.05)


def send(gateway: httpx.Client, target: str, method: str = "POST") -> httpx.Response:
    """Sends a request whose target is not normalised on its way."""
    request = gateway.build_request(method, "/x", content=b"")
    request.extensions["target"] = target.encode()
    return gateway.send(request)


def test_a_fleet_call_passes_with_its_body_and_headers(gateway: httpx.Client) -> None:
    answer = gateway.post("/v1/fleet/push-object", content=b"x" * 300_000, headers={"x-more": "k"})
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
def test_anything_else_is_refused_and_nothing_reaches_the_superlink(gateway: httpx.Client, target: str) -> None:
    before = len(SuperLink.seen)
    assert send(gateway, target).status_code == 403
    assert len(SuperLink.seen) == before


def test_a_path_that_means_a_fleet_call_arrives_as_that_call_or_not_at_all(gateway: httpx.Client) -> None:
    for target in ("/v1/control/../fleet/x", "/v1//fleet/x", "/v1/fleet/%78", "/v1/fleet/x?/../../control/start-run"):
        before = len(SuperLink.seen)
        status = send(gateway, target).status_code
        assert (status, SuperLink.seen[before:]) in ((403, []), (200, ["/v1/fleet/x"])), target


def test_other_methods_and_large_bodies_are_refused(gateway: httpx.Client) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert send(gateway, "/v1/fleet/x", method).status_code == 403
    assert gateway.post("/v1/fleet/x", content=b"x" * (LARGEST + 1)).status_code == 413


def test_an_idle_connection_that_the_superlink_closed_costs_no_request(gateway: httpx.Client) -> None:
    for _ in range(2):  # the node's own connection to the gateway stays open meanwhile
        assert gateway.post("/v1/fleet/x", content=b"").status_code == 200
        time.sleep(2 * IDLE_SECONDS)
    assert gateway.post("/v1/fleet/x", content=b"").status_code == 200


FLEET = b"POST /v1/fleet/get-run HTTP/1.1"
HOST = b"Host: h"


def refusal(head: bytes, largest: int = 10) -> str:
    """Returns the status of a refusal; empty for a request that passes."""
    try:
        parsed_request(head, largest)
    except Refusal as refused:
        return refused.status[:3]
    return ""


def head_of(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([FLEET, HOST, b"Content-Length: 5"], ""),
        ([FLEET, HOST, b"content-length:\t10 "], ""),
        ([FLEET, HOST, b"Content-Length: 0"], ""),
        ([FLEET, HOST, b"Content-Length: 11"], "413"),
        ([FLEET, HOST, b"Content-Length: 999999999999"], "413"),
        ([b"POST /v1/control/start-run HTTP/1.1", HOST, b"Content-Length: 5"], "403"),
        ([b"POST /v1/fleet/../control/start-run HTTP/1.1", HOST, b"Content-Length: 5"], "403"),
        ([b"POST /v1/fleet/get-run?x HTTP/1.1", HOST, b"Content-Length: 5"], "403"),
        ([b"POST http://h/v1/fleet/get-run HTTP/1.1", HOST, b"Content-Length: 5"], "403"),
        ([b"POST //h/v1/fleet/get-run HTTP/1.1", HOST, b"Content-Length: 5"], "403"),
        ([b"POST * HTTP/1.1", HOST, b"Content-Length: 5"], "403"),
        ([b"CONNECT h:443 HTTP/1.1", HOST, b"Content-Length: 5"], "403"),
        ([b"post /v1/fleet/get-run HTTP/1.1", HOST, b"Content-Length: 5"], "403"),
        ([b"GET /v1/fleet/get-run HTTP/1.1", HOST, b"Content-Length: 5"], "403"),
        ([b"POST /v1/fleet/get-run HTTP/1.0", HOST, b"Content-Length: 5"], "403"),
        ([b"POST /v1/fleet/get-run HTTP/2.0", HOST, b"Content-Length: 5"], "403"),
        ([b"PRI * HTTP/2.0"], "403"),
        ([b"POST /v1/fleet/get-run HTTP/1.1 ", HOST, b"Content-Length: 5"], "400"),
        ([b"POST  /v1/fleet/get-run HTTP/1.1", HOST, b"Content-Length: 5"], "400"),
        ([b"POST\t/v1/fleet/get-run HTTP/1.1", HOST, b"Content-Length: 5"], "400"),
        ([b"POST /v1/fleet/get-run http/1.1", HOST, b"Content-Length: 5"], "400"),
        ([b"POST /v1/fleet/get-run", HOST, b"Content-Length: 5"], "400"),
        ([b"", FLEET, HOST, b"Content-Length: 5"], "400"),
        ([b" ", FLEET, HOST, b"Content-Length: 5"], "400"),
        ([FLEET, b"Content-Length: 5"], "400"),  # no host
        ([FLEET, HOST, HOST, b"Content-Length: 5"], "400"),
        ([FLEET, HOST], "400"),
        ([FLEET, HOST, b"Content-Length: 5", b"Content-Length: 6"], "400"),
        ([FLEET, HOST, b"Content-Length: 5", b"Content-Length: 5"], "400"),
        ([FLEET, HOST, b"Content-Length: 5", b"content-length: 5"], "400"),
        ([FLEET, HOST, b"Content-Length: 5, 5"], "400"),
        ([FLEET, HOST, b"Content-Length: 5,6"], "400"),
        ([FLEET, HOST, b"Content-Length: +5"], "400"),
        ([FLEET, HOST, b"Content-Length: -5"], "400"),
        ([FLEET, HOST, b"Content-Length: 0x5"], "400"),
        ([FLEET, HOST, b"Content-Length: 5.0"], "400"),
        ([FLEET, HOST, b"Content-Length: 5 5"], "400"),
        ([FLEET, HOST, b"Content-Length:"], "400"),
        ([FLEET, HOST, "Content-Length: \u0665".encode()], "400"),  # a digit that Python's int would take
        ([FLEET, HOST, b"Content-Length: " + b"0" * 13], "400"),
        ([FLEET, HOST, b"Content-Length : 5"], "400"),
        ([FLEET, HOST, b" Content-Length: 5"], "400"),
        ([FLEET, HOST, b"Content-Length: 5", b"Transfer-Encoding: chunked"], "400"),
        ([FLEET, HOST, b"Transfer-Encoding: chunked"], "400"),
        ([FLEET, HOST, b"Transfer-Encoding: CHUNKED", b"Content-Length: 5"], "400"),
        ([FLEET, HOST, b"Transfer-Encoding: identity", b"Content-Length: 5"], "400"),
        ([FLEET, HOST, b"Transfer-Encoding: x, chunked", b"Content-Length: 5"], "400"),
        ([FLEET, HOST, b"Transfer-Encoding:", b"Content-Length: 5"], "400"),
        ([FLEET, HOST, b"Transfer-Encoding : chunked", b"Content-Length: 5"], "400"),
        ([FLEET, HOST, b"Transfer-Encoding\x00: chunked", b"Content-Length: 5"], "400"),
        ([FLEET, HOST, b"Content-Length: 5", b" folded: x"], "400"),
        ([FLEET, HOST, b"X: a", b"\tb", b"Content-Length: 5"], "400"),
        ([FLEET, HOST, b"Content-Length: 5\nTransfer-Encoding: chunked"], "400"),
        ([FLEET, HOST, b"Content-Length: 5\rX: y"], "400"),
        ([FLEET, HOST, b"Content-Length: 5\n\nPOST /v1/control/start-run HTTP/1.1"], "400"),
        ([FLEET + b"\n" + HOST + b"\nContent-Length: 5"], "400"),
        ([FLEET, HOST, b"no colon", b"Content-Length: 5"], "400"),
        ([FLEET, HOST, b": no name", b"Content-Length: 5"], "400"),
        ([FLEET, HOST, b"X: \x00", b"Content-Length: 5"], "400"),
        ([FLEET, HOST, b"X: \x7f", b"Content-Length: 5"], "400"),
        ([FLEET, HOST, b"X: \xe4", b"Content-Length: 5"], "400"),
    ],
)
def test_one_plain_request_passes_and_nothing_that_reads_in_two_ways(lines: list[bytes], status: str) -> None:
    assert refusal(head_of(*lines)) == status


def test_no_single_byte_put_anywhere_changes_what_is_asked_or_where_the_body_ends() -> None:
    """Each byte value at each place of a head: refused, or the same call with one length of digits in the head itself."""
    whole = head_of(FLEET, HOST, b"Content-Length: 5")
    for place, value in itertools.product(range(len(whole) - 4), range(256)):
        for changed in (
            whole[:place] + bytes([value]) + whole[place + 1 :],
            whole[:place] + bytes([value]) + whole[place:],
        ):
            try:
                request = parsed_request(changed, 10**9)
            except Refusal:
                continue
            sent = rebuilt(request.head)
            assert sent.method == b"POST" and sent.target.startswith(b"/v1/fleet/") and b"/" not in sent.target[10:]
            lengths = [value for name, value in sent.headers if name == b"content-length"]
            assert lengths == [str(request.length).encode()] or lengths[0].lstrip(b"0") == str(request.length).encode()
            assert b"transfer-encoding" not in dict(sent.headers) and b"\r" not in changed.replace(b"\r\n", b"")


def test_headers_about_one_connection_do_not_pass() -> None:
    lines = [
        b"Connection: flwr-public-key",
        b"TE: trailers",
        b"Upgrade: h2c",
        b"Expect: 100-continue",
        b"Flwr-Public-Key: k",
    ]
    request = parsed_request(head_of(FLEET, HOST, b"Content-Length: 5", *lines), 10)
    expected = [(b"host", b"127.0.0.1"), (b"content-length", b"5"), (b"flwr-public-key", b"k")]
    assert list(rebuilt(request.head).headers) == expected


def signed_lines(gateway: httpx.Client) -> list[bytes]:
    assert isinstance(gateway.auth, Signed)
    return signature_lines(gateway.auth.key)


def raw(gateway: httpx.Client, content: bytes) -> bytes:
    """Sends bytes over TLS; returns all that comes back until the connection ends or is silent."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    found = bytearray()
    plain = socket.create_connection(("127.0.0.1", gateway.base_url.port or 0), timeout=5)
    with context.wrap_socket(plain) as channel, suppress(OSError):
        channel.sendall(content)
        channel.settimeout(1)
        while part := channel.recv(65536):
            found += part
    return bytes(found)


def test_what_follows_a_body_is_a_request_of_its_own(gateway: httpx.Client) -> None:
    """Two calls that pass in one piece are two calls; a control call behind a fleet call is refused, and so is one inside it."""
    signed = signed_lines(gateway)
    call = head_of(b"POST /v1/fleet/x HTTP/1.1", HOST, *signed, b"Content-Length: 2") + b"ab"
    control = head_of(b"POST /v1/control/start-run HTTP/1.1", HOST, b"Content-Length: 0")
    before = len(SuperLink.seen)
    assert raw(gateway, call + call).count(b"HTTP/1.1 200") == 2
    assert raw(gateway, call + control).count(b"HTTP/1.1 403") == 1
    inside = head_of(b"POST /v1/fleet/x HTTP/1.1", HOST, *signed, b"Content-Length: %d" % len(control)) + control
    assert raw(gateway, inside).count(b"HTTP/1.1 200") == 1
    assert SuperLink.seen[before:] == ["/v1/fleet/x"] * 4


@pytest.mark.parametrize("gateway", ["own"], indirect=True)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n\r\n",
        b"\x16\x03\x01",
        b"GET",
        FLEET + b"\n\n",
        FLEET + b"\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        head_of(FLEET, HOST, b"Content-Length: 2", b"Transfer-Encoding: chunked")
        + b"0\r\n\r\nPOST /v1/control/x HTTP/1.1\r\n\r\n",
        head_of(FLEET, HOST, b"Content-Length: 5", b"Content-Length: 0") + b"abcde",
    ],
)
def test_bytes_that_are_no_request_reach_nobody(gateway: httpx.Client, content: bytes) -> None:
    before = len(SuperLink.seen)
    assert b" 200 " not in raw(gateway, content)
    assert len(SuperLink.seen) == before
    assert gateway.post("/v1/fleet/x", content=b"").status_code == 200  # others are served on


@pytest.mark.parametrize("gateway", ["own"], indirect=True)
def test_a_body_that_stops_halfway_costs_its_own_connection_only(gateway: httpx.Client) -> None:
    lines = [b"POST /v1/fleet/x HTTP/1.1", HOST, *signed_lines(gateway), b"Content-Length: 100"]
    assert raw(gateway, head_of(*lines) + b"half") == b""
    assert gateway.post("/v1/fleet/x", content=b"").status_code == 200


@pytest.mark.parametrize("gateway", ["own"], indirect=True)
@pytest.mark.parametrize("target", ["chunked", "close", "interim", "empty"])
def test_a_response_arrives_whole_however_the_superlink_frames_it(gateway: httpx.Client, target: str) -> None:
    for _ in range(2):  # and the node's connection goes on
        answer = gateway.post(f"/v1/fleet/{target}", content=b"12")
        assert answer.status_code == (204 if target == "empty" else 200)
        assert answer.content == (b"" if target == "empty" else b"a" * 100_000 + b"0\r\n\r\nb")


def test_a_response_that_nobody_reads_is_given_up(tmp_path: Path) -> None:
    create_authority(tmp_path)
    create_server_certificate(tmp_path, [])
    SuperLink.seen = []
    backend = Backend(str(tmp_path / "superlink.sock"), SuperLink)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    key, port = admitted_key(tmp_path, tmp_path), free_port()
    running = own_gateway(port, tmp_path, Limits(stall_seconds=0.5))
    next(running)
    try:
        wait_for_port(port)
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as channel, suppress(OSError):
            lines = signature_lines(key)
            channel.sendall(head_of(b"POST /v1/fleet/large HTTP/1.1", HOST, *lines, b"Content-Length: 0"))
            time.sleep(2.0)
            received = 0
            while part := channel.recv(2**20):
                received += len(part)
        assert 0 < received < LARGE
    finally:
        next(running, None)
        backend.shutdown()
        backend.server_close()
