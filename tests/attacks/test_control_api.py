"""Another user of the coordinator's machine starts code, takes a ServerApp's task, or asks a SuperNode for one.

Flower's control API runs the code of whoever can connect to it, and ca.pem is public: on a port of loopback that was
every user of the machine, and on one machine with its nodes it read their vault keys.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from flwr.proto.control_pb2 import ListNodesRequest, StartRunRequest  # pylint: disable=E0611
from flwr.proto.runtime_pb2 import AcquireTaskRequest  # pylint: disable=E0611
from flwr.supercore.constant import TaskType
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient

from clients.deploy.folder import NodeFolder, make_node
from clients.ipc.frames import unix_path
from clients.ipc.http import client_on
from clients.policy import Policy
from fedlm.system.processes import MARK, child_environment, marked
from tests.support.coordinators import Coordinator, as_nobody, coordinator
from tests.support.deployments import wait_until

pytestmark = pytest.mark.flower
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
VERSION = RuntimeVersionHttpInterceptor("flwr CLI")


@pytest.fixture(scope="module")
def running() -> Iterator[Coordinator]:
    with coordinator(active=False) as made:
        yield made


@pytest.fixture(scope="module")
def supernode(running: Coordinator) -> Iterator[Path]:
    """A SuperNode of the admitted key; yields the socket on which it hands out tasks."""
    node = running.home / "node"
    make_node(node, f"127.0.0.1:{running.folder.port}", running.folder.path / "ca.pem", Policy())
    (node / "node.key").write_bytes((running.home / "node.key").read_bytes())
    (node / "vault.db").touch()
    (node / "secret").write_bytes(os.urandom(32))
    (node / "secret").chmod(0o600)
    for folder in (node, node / "socket"):
        folder.chmod(0o755)
    found = NodeFolder(node)
    environment = child_environment({**found.environment, MARK: str(running.home)})
    with (
        (node / "supernode.log").open("wb") as log,
        subprocess.Popen(found.supernode(), stdout=log, stderr=log, env=environment) as process,
    ):
        try:
            wait_until(lambda: "SuperNode ID" in (node / "supernode.log").read_text(), 60)
            yield found.tasks
        finally:
            process.send_signal(signal.SIGKILL)


def listening(process: int) -> set[tuple[str, str]]:
    """Returns the ports and Unix sockets on which a process listens."""
    links = [os.readlink(entry) for entry in Path(f"/proc/{process}/fd").iterdir() if entry.is_symlink()]
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = set()
    for name in ("tcp", "tcp6"):
        rows = [row.split() for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
        found |= {("port", str(int(row[1].split(":")[1], 16))) for row in rows if row[3] == "0A" and row[9] in inodes}
    unix = [row.split() for row in Path("/proc/net/unix").read_text().splitlines()[1:]]
    accepting = 0x10000  # __SO_ACCEPTCON
    return found | {("unix", Path(r[7]).name) for r in unix if int(r[3], 16) & accepting and r[6] in inodes}


def test_the_gateway_has_the_only_port(running: Coordinator, supernode: Path) -> None:
    found = set().union(*map(listening, marked(running.home)))
    gateway = ("port", str(running.folder.port))
    assert found == {gateway, ("unix", "superlink.sock"), ("unix", "supernode.sock")}


def connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as channel, unix_path(path) as name:
        channel.connect(name)


@needs_root
def test_another_user_reaches_neither_superlink_nor_supernode(running: Coordinator, supernode: Path) -> None:
    """Not even where every user may enter the folders, as here."""
    for path in (running.folder.socket, supernode):
        assert path.stat().st_mode & 0o777 == 0o600
        connect(path)
        assert as_nobody(lambda path=path: connect(path)) == "PermissionError"  # type: ignore[misc]
        assert as_nobody(path.unlink) == "PermissionError"
        assert as_nobody(lambda path=path: path.rename(f"{path}.old")) == "PermissionError"  # type: ignore[misc]


def test_whoever_can_connect_could_do_all_of_it(running: Coordinator, supernode: Path) -> None:
    """The sockets are what stops the attack: for their own user the calls pass, and the node has its secret besides."""
    with client_on(running.folder.socket, ControlHttpClient, [VERSION]) as client:
        assert len(client.ListNodes(ListNodesRequest()).nodes_info) == 1
    tasks = AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP])
    with client_on(running.folder.socket, RuntimeHttpClient, [VERSION]) as runtime:
        assert not runtime.AcquireTask(tasks).HasField("task")
    with client_on(supernode, RuntimeHttpClient, [VERSION]) as runtime, pytest.raises(httpx.HTTPStatusError):
        runtime.AcquireTask(tasks)


def test_no_such_call_passes_the_open_port(running: Coordinator) -> None:
    certificate = (running.folder.path / "ca.pem").read_bytes()
    address, before = f"127.0.0.1:{running.folder.port}", running.calls()
    with ControlHttpClient.from_server_address(address, False, certificate, [VERSION]) as client:
        with pytest.raises(httpx.HTTPStatusError, match="403"):
            client.StartRun(StartRunRequest())
        with pytest.raises(httpx.HTTPStatusError, match="403"):
            client.ListNodes(ListNodesRequest())
    with (
        RuntimeHttpClient.from_server_address(address, False, certificate, [VERSION]) as runtime,
        pytest.raises(httpx.HTTPStatusError, match="403"),
    ):
        runtime.AcquireTask(AcquireTaskRequest())
    assert running.calls() == before


@needs_root
def test_keys_and_certificates_stay_with_their_user(running: Coordinator) -> None:
    for name in ("server.key", "ca.key"):
        assert as_nobody((running.folder.path / name).read_bytes) == "PermissionError"
    assert as_nobody((running.folder.path / "ca.pem").read_bytes) == ""


def test_a_socket_that_was_left_behind_is_replaced_with_its_mode(running: Coordinator) -> None:
    """A killed SuperLink leaves its socket; the next one makes its own, and nobody finds it open to others in between."""
    os.kill(running.process_of("server.deploy.superlink"), signal.SIGKILL)
    modes = set()

    def is_back() -> bool:
        try:
            modes.add(running.folder.socket.stat().st_mode & 0o777)
            return len(running.folder.control.nodes()) == 1
        except Exception:  # noqa: BLE001 - not yet
            return False

    wait_until(is_back, 60)
    assert modes == {0o600}
