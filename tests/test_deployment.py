"""A deployment of real processes on one machine: the simulation's bits, kills that lose nothing, and what is refused."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.flower]
ROUNDS = 5
SMALL = [
    "scrub=patterns",
    "max_clients=8",
    f"rounds={ROUNDS}",
    "cohort_size=4",
    "eval_every=5",
    "model=lstm(units=8)",
    "timeout=120",
]


def fedlm(*arguments: object, cwd: Path, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "fedlm", *map(str, arguments)]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=timeout)


def sets(*more: str) -> list[str]:
    return [w for s in [*SMALL, *more] for w in ("--set", s)]


def processes(folder: Path) -> dict[int, str]:
    from clients.children import marked

    found = {}
    for process in marked(folder):
        try:
            found[process] = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def kill_one(folder: Path, words: str) -> int:
    """Kills one process of the deployment whose command has the words; returns its id."""
    (victim, *_) = [p for p, command in sorted(processes(folder).items()) if words in command]
    os.kill(victim, signal.SIGKILL)
    return victim


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A deployment that is up: two nodes; and the simulation's summary beside it."""
    home = tmp_path_factory.mktemp("deploy")
    done = fedlm("simulate", "shakespeare", *sets(), "--workers", 1, "--out", "local", "--json", cwd=home)
    assert done.returncode == 0, done.stderr
    (home / "local.json").write_text(done.stdout)
    made = fedlm("deploy", "init", "d", "--nodes", 2, *sets(), "--max-message-bytes", 2**26, cwd=home)
    assert made.returncode == 0, made.stderr
    try:
        up = fedlm("deploy", "up", "d", cwd=home)
        assert up.returncode == 0, up.stderr
        yield home
    finally:
        fedlm("deploy", "down", "d", cwd=home)
    assert processes(home / "d") == {}
    assert not list((home / "d" / "server").glob("state.db*"))


def expected(home: Path) -> str:
    return str(json.loads((home / "local.json").read_text())["weights_sha256"])


def lines(run: Path) -> list[dict[str, Any]]:
    file = run / "metrics.jsonl"
    found = []
    for text in file.read_text().splitlines() if file.is_file() else []:
        if text.endswith("}"):
            found.append(json.loads(text))
    return found


def test_same_bits_as_the_simulation_and_no_figure_per_client(place: Path) -> None:
    done = fedlm("deploy", "run", "d", "--out", "first", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["weights_sha256"] == expected(place)
    assert not (place / "first" / "clients.parquet").exists()
    final, local = json.loads(done.stdout)["final"], json.loads((place / "local.json").read_text())["final"]
    assert final == pytest.approx(local)  # sums of floats in another order
    assert (place / "first" / "report.html").is_file()
    for worker in (place / "d" / "nodes").glob("*/worker.log"):
        assert "retracing" not in worker.read_text()


def test_kills_lose_nothing(place: Path) -> None:
    run = place / "killed"
    words = [sys.executable, "-m", "fedlm", "deploy", "run", "d", "--out", "killed", "--json"]
    with subprocess.Popen(words, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for rounds, victim in ((1, "clients.worker"), (2, "flower-supernode"), (3, "flwr-serverapp")):
            while len(lines(run)) <= rounds:
                assert process.poll() is None, process.communicate()
                time.sleep(0.05)
            time.sleep(random.random())
            kill_one(place / "d", victim)
        out, error = process.communicate(timeout=240)
    assert process.returncode == 0, error
    assert json.loads(out)["weights_sha256"] == expected(place)
    rounds = lines(run)
    assert [line["round"] for line in rounds] == list(range(ROUNDS + 1))
    assert sum(line["failed"] for line in rounds) == 0


def port(place: Path) -> int:
    found = re.search(r"^port = (\d+)", (place / "d" / "server" / "server.toml").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def test_the_open_door_passes_the_fleet_api_only(place: Path) -> None:
    authority = str(place / "d" / "server" / "ca.pem")
    context = ssl.create_default_context(cafile=authority)
    with httpx.Client(verify=context, base_url=f"https://127.0.0.1:{port(place)}") as client:
        for path in (
            "/v1/control/start-run",
            "/v1/control/register-node",
            "/v1/runtime/acquire-task",
            "/docs",
            "/health",
        ):
            assert client.post(path, content=b"").status_code == 403, path
        for path in ("/v1/fleet/../control/start-run", "/v1/fleet/%2e%2e/control/start-run", "/v1/fleet//x"):
            request = httpx.Request("POST", f"https://127.0.0.1:{port(place)}/x", content=b"")
            request.extensions["target"] = path.encode()
            assert client.send(request).status_code == 403, path
        assert client.get("/v1/fleet/pull-messages").status_code == 403
        assert client.post("/v1/fleet/pull-messages", content=b"").status_code in (400, 401, 415, 422)
        assert client.post("/v1/fleet/push-object", content=b"x" * (2**26 + 1)).status_code == 413
        chunked = client.post("/v1/fleet/pull-messages", content=iter([b"x"]))
        assert chunked.status_code == 400
    with pytest.raises(httpx.ConnectError):  # a server of another authority
        httpx.post(f"https://127.0.0.1:{port(place)}/v1/fleet/get-run", content=b"")
    with pytest.raises(httpx.HTTPError):
        httpx.post(f"http://127.0.0.1:{port(place)}/v1/fleet/get-run", content=b"")


def supernode(place: Path, key: Path, cwd: Path, **changes: str) -> str:
    """Starts a SuperNode with a key; returns what it says when it gives up."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    options = {
        "--superlink": f"127.0.0.1:{port(place)}",
        "--root-certificates": str(place / "d" / "server" / "ca.pem"),
        "--auth-supernode-private-key": str(key),
        "--isolation": "process",
        "--port": str(free),
        **changes,
    }
    words = [str(Path(sys.executable).parent / "flower-supernode"), *(w for o in options.items() for w in o)]
    environment = {**os.environ, "FLWR_HOME": str(cwd), "FLWR_TELEMETRY_ENABLED": "0"}
    with subprocess.Popen(
        [*words, "--max-retries", "0"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            return process.communicate(timeout=30)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            return "still running " + process.communicate()[0]


def test_strangers_are_refused(place: Path, tmp_path: Path) -> None:
    from server.certificates import create_authority, create_node_key

    create_node_key(tmp_path)
    assert "could not be activated" in (said := supernode(place, tmp_path / "node.key", tmp_path)) or "2004" in said
    second = supernode(place, place / "d" / "nodes" / "1" / "node.key", tmp_path)
    assert "Failed to initialize" in second, second
    create_authority(tmp_path)
    other = supernode(
        place, place / "d" / "nodes" / "1" / "node.key", tmp_path, **{"--root-certificates": str(tmp_path / "ca.pem")}
    )
    assert "CERTIFICATE_VERIFY_FAILED" in other, other


def test_a_changed_bundle_and_a_greedy_request_are_refused_by_the_node(place: Path) -> None:
    policies = list((place / "d" / "nodes").glob("*/policy.toml"))
    kept = [p.read_text() for p in policies]
    for policy, text in zip(policies, kept, strict=True):
        policy.write_text(re.sub(r"bundles = .*", f'bundles = ["{hashlib.sha256(b"x").hexdigest()}"]', text))
    try:
        done = fedlm("deploy", "run", "d", "--out", "bundle", cwd=place)
    finally:
        for policy, text in zip(policies, kept, strict=True):
            policy.write_text(text)
    assert done.returncode == 2
    assert "has not allowed the app bundle" in done.stderr
    greedy = fedlm("deploy", "run", "d", "--out", "greedy", "--set", "local_epochs=9", cwd=place)
    assert (greedy.returncode, "allows 5 local epochs" in greedy.stderr) == (4, True), greedy.stderr


def test_a_key_that_others_may_read_is_refused(place: Path, tmp_path: Path) -> None:
    node = tmp_path / "node"
    shutil.copytree(place / "d" / "nodes" / "1", node, ignore=shutil.ignore_patterns("socket"))
    (node / "vault.db.key").chmod(0o644)
    words = ["-P", "-m", "clients.worker", "--socket", str(node / "s" / "w"), "--policy", str(node / "policy.toml")]
    words += ["--vault", str(node / "vault.db"), "--key-file", str(node / "vault.db.key")]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120)
    assert (done.returncode, "Others may read the key file" in done.stderr) == (3, True), done.stderr
