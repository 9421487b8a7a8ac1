"""A coordinator as a real process, gateway and SuperLink, that tests attack; and the honest node that must not notice."""

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.fleet_pb2 import ActivateNodeRequest  # pylint: disable=E0611
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest  # pylint: disable=E0611
from flwr.proto.node_pb2 import Node  # pylint: disable=E0611
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fedlm.errors import FedLMError
from fedlm.system.processes import MARK, child_environment, marked, module_command
from server.deploy.folder import ServerFolder
from server.deploy.setup import make_server
from tests.support.deployments import wait_until
from tests.support.guard import guard
from tests.support.signing import admitted_key, signature_lines

MEGABYTE = 2**20
NOBODY = 65534
_HOST = b"Host: h\r\nContent-Type: application/protobuf"  # what the SuperLink reads to its end


class Coordinator:
    """A running coordinator.

    Attributes:
      folder: of the server.
      key: of a node that it has admitted.
      process: supervises the SuperLink and serves the gateway.
    """

    def __init__(self, home: Path, process: subprocess.Popen[bytes], key: ec.EllipticCurvePrivateKey) -> None:
        self.home, self.process, self.key = home, process, key
        self.folder = ServerFolder(home / "server")
        self.node = 0

    def _call(self, name: str, request: Any, seconds: float) -> Any:
        version, auth = (
            RuntimeVersionHttpInterceptor("SuperNode"),
            NodeAuthHttpInterceptor(self.key, self.key.public_key()),
        )
        address, certificate = f"127.0.0.1:{self.folder.port}", str(self.folder.path / "ca.pem")
        with FleetHttpClient.from_server_address(address, False, certificate, [version, auth]) as client:
            client._client.timeout = httpx.Timeout(seconds)
            return getattr(client, name)(request)

    def activate(self) -> int:
        """Asks what a starting SuperNode asks, once; returns the node's id.

        Raises:
          httpx.HTTPError: it was refused.
        """
        request = ActivateNodeRequest(public_key=public_key_to_bytes(self.key.public_key()), heartbeat_interval=1000)
        return int(self._call("ActivateNode", request, 30.0).node_id)

    def serves(self, seconds: float = 5.0) -> bool:
        """Returns whether the honest node's heartbeat succeeds, over a new connection and within a time.

        Raises:
          httpx.HTTPError: it was refused, or not answered in time.
        """
        request = SendNodeHeartbeatRequest(node=Node(node_id=self.node), heartbeat_interval=1000)
        return bool(self._call("SendNodeHeartbeat", request, seconds).success)

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """Returns a TCP connection to the gateway from an address of loopback."""
        channel = socket.socket()
        channel.bind((source, 0))
        channel.settimeout(10)
        channel.connect(("127.0.0.1", self.folder.port))
        return channel

    def secured(self, source: str = "127.0.0.1") -> ssl.SSLSocket:
        """Returns a TLS connection to the gateway."""
        context = ssl.create_default_context(cafile=str(self.folder.path / "ca.pem"))
        return context.wrap_socket(self.connect(source), server_hostname="127.0.0.1")

    def head(self, target: str, length: int, *lines: bytes, signed: bool = True) -> bytes:
        """Returns a request's head."""
        first = [f"POST /v1/fleet/{target} HTTP/1.1".encode(), _HOST, f"Content-Length: {length}".encode()]
        return b"\r\n".join([*first, *(signature_lines(self.key) if signed else ()), *lines]) + b"\r\n\r\n"

    def process_of(self, words: str) -> int:
        """Returns the id of a process of the coordinator by words of its command."""
        found = [p for p in marked(self.home) if words in Path(f"/proc/{p}/cmdline").read_text().replace("\0", " ")]
        assert len(found) == 1, (words, found)
        return found[0]

    def memory_mb(self) -> float:
        """Returns the resident memory of the SuperLink."""
        status = Path(f"/proc/{self.process_of('server.deploy.superlink')}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def calls(self, name: str = "") -> int:
        """Returns how many calls of the fleet API, or of one of its names, have reached the SuperLink."""
        return (self.folder.path / "superlink.log").read_text().count(f'"POST /v1/fleet/{name}')

    def log_bytes(self) -> int:
        """Returns the size of everything that coordinator and SuperLink wrote."""
        return sum(file.stat().st_size for file in self.folder.path.glob("*.log*"))


@contextlib.contextmanager
def coordinator(limits: str = "", descriptors: int = 0, *, active: bool = True) -> Iterator[Coordinator]:
    """Runs a coordinator with a table `limits` in its server.toml; `descriptors` is all that it may ever open.

    Its node is active, as if its SuperNode ran, unless one shall run.

    Every user may look into its folder: what keeps others out must be the files and sockets themselves.
    """
    home = Path(tempfile.mkdtemp(prefix="coordinator-"))
    try:
        make_server(home / "server", [], "127.0.0.1", 0, 64 * MEGABYTE)
        for folder in (home, home / "server"):
            folder.chmod(0o755)
        with (home / "server" / "server.toml").open("a") as settings:
            settings.write(f"\n[limits]\n{limits}\n")
        key = admitted_key(home / "server", home)
        words, environment = module_command("server.deploy.coordinator", home / "server"), {MARK: str(home)}
        with (home / "server" / "supervisor.log").open("ab") as log:
            process = subprocess.Popen(
                words, stdout=log, stderr=log, env=child_environment(environment), preexec_fn=_allowing(descriptors)
            )
        with guard([sys.executable, "-c", f"import os; os.kill({process.pid}, 9)"], home):
            try:
                running = Coordinator(home, process, key)
                wait_until(lambda: _has_node(running), 120)
                running.node = running.activate() if active else 0
                yield running
            finally:
                process.terminate()
                process.wait(30)
    finally:
        shutil.rmtree(home)


def _has_node(running: Coordinator) -> bool:
    assert running.process.poll() is None, (running.folder.path / "supervisor.log").read_text()
    try:
        return len(running.folder.control.nodes()) == 1
    except FedLMError:
        return False


def _allowing(descriptors: int) -> Callable[[], None] | None:
    if not descriptors:
        return None
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (min(descriptors, 100), descriptors))


def as_nobody(action: Callable[[], object]) -> str:
    """Runs an action as another user; returns the name of the error that it ended with, empty if it succeeded.

    Only root can become another user.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            action()
            said = ""
        except BaseException as error:  # noqa: BLE001 - it is the answer
            said = type(error).__name__
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


def answer(channel: socket.socket, seconds: float = 10.0) -> bytes:
    """Reads one response from a connection that may stay open; returns its status and content."""
    channel.settimeout(seconds)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = channel.recv(1)
        assert byte, head
        head += byte
    length = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]
    content = b""
    while len(content) < length:
        content += channel.recv(length - len(content))
    return head[9:12] + b" " + content


def ends_within(channel: socket.socket, seconds: float) -> bool:
    """Returns whether the other side closes a connection within a time, whatever it sends before."""
    channel.settimeout(seconds)
    try:
        while channel.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def kill(process: int) -> None:
    """Kills a process."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
