"""What the processes of a deployment refuse: strangers, other bundles, large messages, keys that others may read."""

import os
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from flwr.app import Message
from flwr.common.serde import fab_to_proto
from flwr.proto.control_pb2 import (  # pylint: disable=E0611
    ListNodesRequest,
    RegisterNodeRequest,
    StartRunRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from clients.deploy.bundle import build_bundle
from clients.deploy.keys import create_node_key, load_public_key
from clients.ipc.frames import call_worker, unix_path
from clients.policy import Policy
from fedlm.config import RunConfig
from fedlm.messages.fields import weights_record
from fedlm.messages.training import TrainRequest
from server.deploy.certificates import create_authority
from server.engines.local import take_identity
from tests.support.deployments import processes
from tests.support.place import MEGABYTES, Place, admitted

pytestmark = [pytest.mark.slow, pytest.mark.flower]
ROOT = Path(__file__).parents[2]


def test_the_gateway_passes_the_fleet_api_only(place: Place) -> None:
    address = f"127.0.0.1:{place.server.port}"
    context = ssl.create_default_context(cafile=str(place.server.path / "ca.pem"))
    with httpx.Client(verify=context, base_url=f"https://{address}", timeout=60) as client:
        for path in ("/v1/control/start-run", "/v1/runtime/acquire-task", "/docs", "/health"):
            assert client.post(path, content=b"").status_code == 403, path
        for path in ("/v1/fleet/../control/start-run", "/v1/fleet/%2e%2e/control/start-run", "/v1/fleet//x"):
            request = httpx.Request("POST", f"https://{address}/x", content=b"")
            request.extensions["target"] = path.encode()
            assert client.send(request).status_code == 403, path
        assert client.get("/v1/fleet/pull-messages").status_code == 403
        assert client.post("/v1/fleet/pull-messages", content=b"").status_code == 401  # not signed
        too_large = b"x" * (MEGABYTES * 2**20 + 1)
        assert client.post("/v1/fleet/push-object", content=too_large).status_code == 413
        assert client.post("/v1/fleet/pull-messages", content=iter([b"x"])).status_code == 400  # chunked
    with pytest.raises(httpx.ConnectError):  # a server of an authority that the caller does not know
        httpx.post(f"https://{address}/v1/fleet/get-run", content=b"")
    with pytest.raises(httpx.HTTPError):
        httpx.post(f"http://{address}/v1/fleet/get-run", content=b"")


def test_a_stranger_submits_no_bundle_and_registers_no_node(place: Place, tmp_path: Path) -> None:
    public = load_public_key(create_node_key(tmp_path))
    bundle = fab_to_proto(Fab("", build_bundle(), {}))
    calls = ("StartRun", StartRunRequest(fab=bundle)), ("RegisterNode", RegisterNodeRequest(public_key=public))
    certificate, version = (place.server.path / "ca.pem").read_bytes(), RuntimeVersionHttpInterceptor("flwr CLI")
    address = f"127.0.0.1:{place.server.port}"
    for name, message in (*calls, ("ListNodes", ListNodesRequest())):
        stranger = ControlHttpClient.from_server_address(address, False, certificate, [version])
        with stranger, pytest.raises(httpx.HTTPStatusError, match="403"):
            getattr(stranger, name)(message)
    assert public not in admitted(place)


def listening(process: int) -> set[str]:
    """Returns the local addresses (hexadecimal, as the kernel writes them) on which a process listens with TCP."""
    try:
        links = [os.readlink(entry) for entry in Path(f"/proc/{process}/fd").iterdir()]
    except OSError:
        return set()
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[3] == "0A" and row[9] in inodes}


def test_the_gateways_port_is_the_only_one(place: Place) -> None:
    found = set().union(*map(listening, processes(place.folder)))
    assert found == {f"0100007F:{place.server.port:04X}"}  # 127.0.0.1; `init` binds the open port there


def supernode(place: Place, key: Path, cwd: Path, **changes: str) -> str:
    """Starts a SuperNode with a key; returns what it says when it gives up."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    options = {
        "--superlink": f"127.0.0.1:{place.server.port}",
        "--root-certificates": str(place.server.path / "ca.pem"),
        "--auth-supernode-private-key": str(key),
        "--isolation": "process",
        "--port": str(free),
        **changes,
    }
    words = [str(Path(sys.executable).parent / "flower-supernode"), *(w for o in options.items() for w in o)]
    environment = {**os.environ, "FLWR_HOME": str(cwd), "FLWR_TELEMETRY_ENABLED": "0"}
    done = subprocess.run([*words, "--max-retries", "0"], env=environment, capture_output=True, text=True, timeout=300)
    return done.stdout + done.stderr


def test_strangers_are_refused(place: Place, tmp_path: Path) -> None:
    create_node_key(tmp_path)
    assert "could not be activated" in (said := supernode(place, tmp_path / "node.key", tmp_path)) or "2004" in said
    second = supernode(place, place.node(1) / "node.key", tmp_path)
    assert "Failed to initialize" in second, second
    create_authority(tmp_path)
    other = supernode(place, place.node(1) / "node.key", tmp_path, **{"--root-certificates": str(tmp_path / "ca.pem")})
    assert "CERTIFICATE_VERIFY_FAILED" in other, other


def test_a_changed_bundle_is_refused_by_the_node(place: Place, tmp_path: Path) -> None:
    for package in ("fedlm", "clients", "server", "scenarios"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "clients" / "app.py").open("a") as file:
        file.write("# one line more\n")
    words = [sys.executable, "-m", "fedlm", "deploy", "run", str(place.folder), "--out", str(tmp_path / "bundle")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert (done.returncode, "has not allowed the app bundle" in done.stderr) == (2, True), done.stderr


def request(clients: list[int], **settings: object) -> Message:
    """Returns a message as the server would send it, for a node's worker."""
    take_identity()
    config = RunConfig.checked({"model": "lstm(units=8)", **settings})
    asked = TrainRequest(config.to_settings(), 1, np.array(clients, np.uint64), weights_record(()))
    return Message(asked.content(), 2, asked.kind)


def test_a_bundle_and_a_message_are_measured_before_the_worker_sees_them() -> None:
    policy = Policy(bundles=("a",), max_message_bytes=MEGABYTES * 2**20)
    assert policy.refusal("a", MEGABYTES * 2**20) == ""
    assert "has 67108865 bytes" in policy.refusal("a", MEGABYTES * 2**20 + 1)
    assert "has not allowed" in policy.refusal("b", 0)


def test_the_worker_refuses_what_its_policy_does_not_allow_and_says_why(place: Place) -> None:
    path = place.node(3) / "socket" / "worker.sock"
    greedy = call_worker(path, request([1], local_epochs=9))
    assert (greedy.error.code, "allows 5 local epochs" in greedy.error.reason) == (2, True)
    nobody = call_worker(path, request([]))
    assert "at least 1 clients per message" in nobody.error.reason
    with socket.socket(socket.AF_UNIX) as channel:
        with unix_path(path) as name:
            channel.connect(name)
        channel.sendall((MEGABYTES * 2**20 + 1).to_bytes(8, "little"))
        assert channel.recv(1) == b""  # hung up, nothing read
    assert call_worker(path, request([])).has_error()  # and still there


def test_a_key_that_others_may_read_is_refused(place: Place, tmp_path: Path) -> None:
    node = tmp_path / "node"
    shutil.copytree(place.node(1), node, ignore=shutil.ignore_patterns("socket"))
    (node / "vault.db.key").chmod(0o644)
    words = ["-P", "-m", "clients.worker", "--socket", str(node / "s" / "w"), "--policy", str(node / "policy.toml")]
    words += ["--vault", str(node / "vault.db"), "--key-file", str(node / "vault.db.key")]
    env = {**os.environ, "KERAS_HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)}  # as its node would start it
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300, env=env)
    assert (done.returncode, "Other users may read the key file" in done.stderr) == (3, True), done.stderr
