"""A deployment of real processes on one machine: the simulation's bits, kills lose nothing, nodes come and go."""

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.deploy.keys import create_node_key, load_public_key
from fedlm.config import RunConfig
from fedlm.system.locks import holding, supervisor
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.deploy.members import max_clients
from server.store.run_folder import DEPLOYED, FOLLOWED
from tests.support.deployments import ROUNDS, fedlm, kill_one, lines, processes, start, wait_until
from tests.support.kill_deployment import plan, run_with_kills
from tests.support.place import Place, admitted
from tests.support.relays import is_tls

pytestmark = [pytest.mark.slow, pytest.mark.flower]


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


def test_why_a_serverapp_failed_is_told_and_the_run_can_be_resumed(place: Place) -> None:
    out = place.home / "broken"
    run = start(place.home, "deploy", "run", "d", "--out", "broken", "--json")
    wait_until((out / DEPLOYED).is_file)
    (out / "sample.txt").mkdir()  # what the ServerApp writes last cannot be written
    printed, error = run.communicate(timeout=900)
    sentence = f"{out / 'sample.txt'} cannot be read or written: it is a folder; use another name, then try again."
    assert (run.returncode, printed) == (4, "")
    assert error.rstrip().split("\n")[-1] == f"fedlm: {sentence}"
    assert json.loads((out / "error.json").read_text()) == {"code": 4, "error": sentence}
    known = {"folder": str(out), "state": f"failed: {sentence}", "round": ROUNDS, "rounds": ROUNDS}
    assert known in status(place)["runs"]
    (out / "sample.txt").rmdir()
    done = fedlm("deploy", "run", "d", "--out", "broken", "--resume", "--json", cwd=place.home)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["weights_sha256"] == place.local["weights_sha256"]
    assert not (out / "error.json").exists()


def test_up_starts_the_one_node_that_was_lost_and_says_what_keeps_it_from_starting(place: Place) -> None:
    others = {p for p, command in processes(place.folder).items() if "nodes/3" not in command}
    key = place.node(3) / "vault.db.key"
    assert kill_one(place.folder, f"clients.deploy.supervisor {place.node(3)}")
    wait_until(lambda: supervisor(place.node(3)) is None)
    assert [node["status"] for node in status(place)["nodes"]] == ["online", "online", "stopped"]
    key.chmod(0o644)
    up = fedlm("deploy", "up", "d", cwd=place.home)
    key.chmod(0o600)
    assert (up.returncode, "nodes/3 did not start: Other users may read the key file" in up.stderr) == (3, True), (
        up.stderr
    )
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


def test_the_coordinator_admits_a_node_and_expels_it(place: Place, tmp_path: Path) -> None:
    file = create_node_key(tmp_path)
    assert fedlm("deploy", "add", "d", file, cwd=place.home).returncode == 0
    assert load_public_key(file) in admitted(place)
    limits = place.server.path / "nodes"
    assert not list(limits.glob("*.toml"))
    for limit in (7, 9):  # changed later
        assert fedlm("deploy", "add", "d", file, "--max-clients", limit, cwd=place.home).returncode == 0
        assert [max_clients(limits, found.stem) for found in limits.glob("*.toml")] == [limit]
    assert fedlm("deploy", "add", "d", file, "--expel", cwd=place.home).returncode == 0
    assert load_public_key(file) not in admitted(place)
    assert len(list(limits.glob("*.pub"))) == 3 and not list(limits.glob("*.toml"))
