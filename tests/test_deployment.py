"""A deployment of real processes on one machine: the simulation's bits, kills that lose nothing, and what is refused."""

import hashlib
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, MessageType

from clients.frames import call_worker, unix_path
from clients.lock import holding, supervisor
from clients.policy import Policy
from fedlm import wire
from fedlm.config import RunConfig
from fedlm.errors import FedLMError
from fedlm.vault.keys import KeySource
from fedlm.vault.store import Vault
from server.bundle import build_bundle
from server.certificates import create_authority, create_node_key, load_public_key
from server.control import Control
from server.deployed import FOLLOWED
from server.local_grid import take_identity
from server.server_folder import ServerFolder
from tests.deployments import ROUNDS, fedlm, finish, kill_one, lines, processes, sets, start, wait_until
from tests.guard import guard
from tests.kill_deployment import plan, run_with_kills
from tests.relays import Relay, is_tls

pytestmark = [pytest.mark.slow, pytest.mark.flower, pytest.mark.xdist_group("deployment")]  # one deployment for all
MEGABYTES = 64
ROOT = Path(__file__).parent.parent


def contents(folder: Path) -> dict[str, str]:
    """Returns the hash of every file of a folder, by its name there."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


class Place:
    """A deployment `d` of three nodes in a folder, up; and the same training as a simulation, `local`.

    Node 1 reaches the coordinator through a relay that keeps what is on the wire; node 2 through one that opens it.
    """

    def __init__(self, home: Path, simulation: subprocess.Popen[str]) -> None:
        self.home, self.folder = home, home / "d"
        made = fedlm("deploy", "init", "d", *sets(), "--max-message-bytes", MEGABYTES * 2**20, cwd=home)
        assert made.returncode == 0, made.stderr
        self.local = json.loads(finish(simulation))
        self.server = ServerFolder(self.folder / "server")
        self.wire, self.opened = Relay(self.server.port), Relay(self.server.port, self.server.path)
        for node, relay in ((1, self.wire), (2, self.opened)):
            settings = self.node(node) / "node.toml"
            settings.write_text(settings.read_text().replace(f":{self.server.port}", f":{relay.port}"))

    def node(self, number: int) -> Path:
        return self.folder / "nodes" / str(number)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("deploy")
    user = tmp_path_factory.mktemp("user")
    (user / ".flwr").mkdir()
    (user / ".flwr" / "config.toml").write_text('[superlink]\ndefault = "mine"\n')
    before = contents(user)
    simulation = start(home, "simulate", "shakespeare", *sets(), "--workers", 1, "--out", "local", "--json")
    with guard([sys.executable, "-m", "fedlm", "deploy", "down", "d"], home), pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(user))
        patch.setenv("MPLCONFIGDIR", str(tmp_path_factory.mktemp("matplotlib")))  # its list of fonts, at the first plot
        patch.delenv("FLWR_HOME", raising=False)
        place = Place(home, simulation)
        try:
            up = fedlm("deploy", "up", "d", cwd=home)
            assert up.returncode == 0, up.stderr
            yield place
        finally:
            down = fedlm("deploy", "down", "d", cwd=home)
            place.wire.close()
            place.opened.close()
    assert down.returncode == 0, down.stderr
    assert processes(place.folder) == {}
    assert not list(place.server.path.glob("state.db*"))
    assert contents(user) == before


def test_same_bits_as_the_simulation_and_no_figure_per_client(place: Place) -> None:
    done = fedlm("deploy", "run", "d", "--out", "first", "--json", cwd=place.home)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["weights_sha256"] == place.local["weights_sha256"]
    assert summary["final"] == pytest.approx(place.local["final"])  # sums of floats in another order
    assert not (place.home / "first" / "clients.parquet").exists()
    assert (place.home / "first" / "report.html").is_file()
    logs = [(place.node(n) / "worker.log").read_text() for n in (1, 2, 3)]
    assert sum("compiled a training step: 1 " in log for log in logs) >= 2  # those that were in a cohort
    assert not any("retracing" in log or "training step: 2 " in log for log in logs)


def test_what_crosses_the_wire_is_tls_and_what_it_carries_is_no_text(place: Place) -> None:
    on_the_wire, carried = (b"".join(map(bytes, relay.streams)) for relay in (place.wire, place.opened))
    assert len(on_the_wire) > 2**16
    assert all(is_tls(bytes(stream)) for stream in place.wire.streams)
    assert b"/v1/fleet/push-object" in carried and b"lstm(units=8)" in carried  # the other relay does see messages
    assert b"lstm(units=8)" not in on_the_wire
    node, vocab = place.node(2), RunConfig.checked({}).vocab
    vault = Vault(node / "vault.db", KeySource(node / "vault.db.key"))
    try:
        documents = [d for client in map(int, vault.pseudonyms) for d in vault.documents(client)]
        names = [name for name, _ in vault.names() if len(name) > 6]
    finally:
        vault.close()
    markers = [text[:24] for text in documents if len(text) >= 12]
    assert len(markers) >= 10
    for marker in markers:
        ids = np.asarray(vocab.encode(marker))
        forms = [marker.encode(), marker.encode("utf-16-le"), *(ids.astype(t).tobytes() for t in ("u1", "<i4", "<i8"))]
        assert not any(form in stream for form in forms for stream in (carried, on_the_wire))
    assert not any(name.encode() in carried for name in names)


def test_kills_lose_nothing(place: Place) -> None:
    rng = random.Random(6)
    kills = plan(rng, ["SuperNode", "worker", "ServerApp", "SuperLink"], ROUNDS - 1)
    summary = run_with_kills(place.home, "killed", kills)
    assert sum(line["failed"] for line in lines(place.home / "killed")) == 0
    assert summary["weights_sha256"] == place.local["weights_sha256"]


def test_up_starts_the_one_node_that_was_lost_and_says_what_keeps_it_from_starting(place: Place) -> None:
    others = {p for p, command in processes(place.folder).items() if "nodes/3" not in command}
    key = place.node(3) / "vault.db.key"
    assert kill_one(place.folder, f"clients.executor {place.node(3)}")
    wait_until(lambda: supervisor(place.node(3)) is None)
    assert [node["status"] for node in status(place)["nodes"]] == ["online", "online", "stopped"]
    key.chmod(0o644)
    up = fedlm("deploy", "up", "d", cwd=place.home)
    key.chmod(0o600)
    assert (up.returncode, "nodes/3 did not start: Others may read the key file" in up.stderr) == (3, True), up.stderr
    assert fedlm("deploy", "up", "d", cwd=place.home).returncode == 0
    assert [node["status"] for node in status(place)["nodes"]] == ["online"] * 3
    assert others <= set(processes(place.folder))  # the others were left alone


def status(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fedlm("deploy", "status", "d", "--json", cwd=place.home).stdout)
    return found


def test_a_run_has_one_command_and_status_knows_it_wherever_it_is(place: Place) -> None:
    run = place.home / "first"
    before = (run / "model.keras").read_bytes()
    with holding(run / FOLLOWED, os.getpid(), ""):
        done = fedlm("deploy", "run", "d", "--out", "first", "--resume", cwd=place.home)
    assert (done.returncode, f"Process {os.getpid()} already trains first" in done.stderr) == (4, True), done.stderr
    assert (run / "model.keras").read_bytes() == before
    known = {"folder": str(run), "state": "done", "round": ROUNDS, "rounds": ROUNDS}
    assert known in status(place)["runs"]


def test_the_open_door_passes_the_fleet_api_only(place: Place) -> None:
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
        assert client.post("/v1/fleet/pull-messages", content=b"").status_code in (400, 401, 415, 422)
        too_large = b"x" * (MEGABYTES * 2**20 + 1)
        assert client.post("/v1/fleet/push-object", content=too_large).status_code == 413
        assert client.post("/v1/fleet/pull-messages", content=iter([b"x"])).status_code == 400  # chunked
    with pytest.raises(httpx.ConnectError):  # a server of an authority that the caller does not know
        httpx.post(f"https://{address}/v1/fleet/get-run", content=b"")
    with pytest.raises(httpx.HTTPError):
        httpx.post(f"http://{address}/v1/fleet/get-run", content=b"")


def test_a_stranger_submits_no_bundle_and_registers_no_node(place: Place, tmp_path: Path) -> None:
    stranger = Control(place.server.port, place.server.path / "ca.pem")
    public = load_public_key(create_node_key(tmp_path))
    for call in (lambda: stranger.start(build_bundle(), tmp_path), lambda: stranger.register(public), stranger.nodes):
        with pytest.raises(FedLMError, match="refused"):
            call()
    assert public not in admitted(place)


def admitted(place: Place) -> list[bytes]:
    return [node.key for node in place.server.control.nodes()]


def test_the_coordinator_admits_a_node_and_expels_it(place: Place, tmp_path: Path) -> None:
    file = create_node_key(tmp_path)
    assert fedlm("deploy", "add", "d", file, cwd=place.home).returncode == 0
    assert load_public_key(file) in admitted(place)
    assert fedlm("deploy", "add", "d", file, "--expel", cwd=place.home).returncode == 0
    assert load_public_key(file) not in admitted(place)
    assert len(list((place.server.path / "nodes").glob("*.pub"))) == 3


def listening(process: int) -> set[str]:
    """Returns the local addresses (hexadecimal, as the kernel writes them) on which a process listens with TCP."""
    try:
        links = [os.readlink(entry) for entry in Path(f"/proc/{process}/fd").iterdir()]
    except OSError:
        return set()
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


def test_every_port_but_the_door_is_on_loopback_only(place: Place) -> None:
    found = set().union(*map(listening, processes(place.folder)))
    assert found == {"0100007F"}  # 127.0.0.1; `init` binds the door there too
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return  # a machine without a network
        outside = probe.getsockname()[0]
    with pytest.raises(OSError):
        socket.create_connection((outside, place.server.superlink_port), timeout=10)


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
    content = wire.request(None, np.array(clients, np.uint64), config.to_settings(), 1, 4, ConfigRecord())
    return Message(content, 2, MessageType.TRAIN)


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
    assert "at least 1 different clients" in nobody.error.reason
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
    env = {**os.environ, "KERAS_HOME": str(tmp_path)}  # as its node would start it: else Keras writes into HOME
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=300, env=env)
    assert (done.returncode, "Others may read the key file" in done.stderr) == (3, True), done.stderr
