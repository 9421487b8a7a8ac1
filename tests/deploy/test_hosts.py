"""The parts of a deployment on hosts of their own: folders, locks, what stands between node and coordinator, who is admitted."""

import json
import shutil
import ssl
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clients.deploy.connection import CONNECTED, host_and_port, is_refusal, problem_with, state_of
from clients.deploy.folder import NodeFolder, free_port, make_node
from clients.deploy.keys import create_node_key
from clients.policy import Policy
from fedlm.cli.main import app
from fedlm.errors import ConfigError, DataError
from fedlm.system.locks import supervisor
from server.deploy.certificates import create_authority, create_server_certificate, server_names
from server.deploy.coordinator import open_port
from server.deploy.folder import ServerFolder
from server.deploy.processes import Deployment
from server.deploy.setup import make_server
from tests.support.deployments import fedlm, start, wait_until
from tests.support.guard import guard

MEGABYTE = 2**20


def refused(*words: object) -> str:
    """Returns the sentence with which a command ends that is used wrongly."""
    error = CliRunner().invoke(app, ["deploy", *map(str, words)]).exception
    assert isinstance(error, ConfigError | DataError), error
    return str(error)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_server(tmp_path / "c" / "server", ["fl.example.org"], "127.0.0.1", 0, MEGABYTE)
    return tmp_path / "c"


@pytest.fixture
def node(folder: Path) -> Path:
    make_node(folder / "n", "localhost:9", folder / "server" / "ca.pem", Policy())
    (folder / "n" / "vault.db").touch()
    return folder / "n"


@pytest.mark.parametrize(
    "address", ["host", "host:", ":1", "host:0", "host:65536", "https://host:1", "a b:1", "host:1/"]
)
def test_an_address_is_host_and_port(address: str) -> None:
    with pytest.raises(ConfigError, match="write HOST:PORT"):
        host_and_port(address)


def served(context: ssl.SSLContext | None) -> Iterator[int]:
    """Serves one connection, with TLS or without; yields the port."""
    with closing(open_port("127.0.0.1", 0)) as listener:

        def answer() -> None:
            channel, _ = listener.accept()
            with channel:
                try:
                    if context:
                        context.wrap_socket(channel, server_side=True).close()
                    else:
                        channel.recv(1)
                        channel.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                except OSError:
                    pass

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(20)


def test_what_stands_between_a_node_and_its_coordinator_is_said(folder: Path, tmp_path: Path) -> None:
    ours, theirs = folder / "server" / "ca.pem", tmp_path / "ca.pem"
    create_authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server" / "server.pem", folder / "server" / "server.key")
    for authority, problem in ((ours, ""), (theirs, "it must be signed by the authority in")):
        for port in served(context):
            assert problem in (said := problem_with(f"localhost:{port}", authority)) and bool(said) == bool(problem)
    for port in served(None):
        assert "does not speak TLS" in problem_with(f"localhost:{port}", ours)
    assert "No coordinator responds" in problem_with(f"localhost:{free_port()}", ours)
    assert "is unknown" in problem_with("nobody.invalid:9443", ours)


def test_the_last_word_of_a_supernode_counts() -> None:
    assert state_of("Starting Flower SuperNode", "h:1") == ""
    assert state_of("SuperNode ID: 7", "h:1") == CONNECTED
    assert state_of("SuperNode ID: 7\nConnection attempt failed, retrying", "h:1") == "h:1 does not respond."
    refusal = state_of("[code: 2004] Failed to activate SuperNode.", "h:1")
    assert is_refusal(refusal) and "deploy add" in refusal and not is_refusal(CONNECTED)


@pytest.mark.parametrize("name", ["node.key", "ca.pem", "policy.toml", "vault.db", "node.key.pub"])
def test_a_node_without_one_of_its_files_says_which(node: Path, name: str) -> None:
    (node / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        NodeFolder(node)


@pytest.mark.parametrize("name", ["node.key", "ca.pem"])
def test_a_damaged_key_or_certificate_is_named(node: Path, name: str) -> None:
    (node / name).write_text("garbage")
    assert f"{name} is damaged" in refused("node", node)


def test_a_damaged_coordinator_is_named(folder: Path) -> None:
    (folder / "server" / "server.pem").write_text("garbage")
    assert "server.pem is not a certificate" in refused("server", folder)
    (folder / "server" / "ca.key").write_text("garbage")
    assert "damaged" in refused("server", folder, "--renew", "--host", "a.example.org")


def test_a_coordinator_is_made_whole_or_not_at_all(tmp_path: Path, node: Path) -> None:
    for words in (("--host", "fl.example.org:9443"), ("--host", "x y"), ("--bind", "300.1.1.1")):
        refused("server", tmp_path / "new", *words)
        assert not (tmp_path / "new" / "server").exists()
    assert "is a node's folder" in refused("server", node)


def test_a_deployment_that_could_never_train_is_not_made(tmp_path: Path) -> None:
    corpus = tmp_path / "c.jsonl"
    rows = [{"user": u, "text": f"text {k} of {u}"} for u in "ab" for k in range(4)]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["init", tmp_path / "d", "--corpus", corpus, "--set", "scrub=none"]
    assert "node 1 has 2 clients" in refused(*words, "--nodes", 1, "--min-chunk-clients", 3)
    assert "make fewer nodes" in refused(*words, "--nodes", 50)
    assert not (tmp_path / "d").exists()


def test_an_invalid_policy_says_which_value(node: Path) -> None:
    (node / "policy.toml").write_text("min_chunk_clients = 0")
    assert "Invalid value for min_chunk_clients: 0 is below 1" in refused("node", node)


def test_an_invalid_node_folder_says_what_is_wrong(node: Path, folder: Path) -> None:
    assert NodeFolder(node).superlink == "localhost:9"
    assert "leave --corpus" in refused("node", node, "--corpus", "shakespeare")
    assert "change it in" in refused("node", node, "--superlink", "other:9") and "node.toml" in refused(
        "node", node, "--superlink", "other:9"
    )
    assert "policy.toml" in refused("node", node, "--min-chunk-clients", 4)
    assert "not a node's folder" in refused("node", folder / "server")
    (node / "node.key").chmod(0o640)
    with pytest.raises(DataError, match="Other users may read the node's key"):
        NodeFolder(node)
    (node / "node.toml").write_text("superlink = 3\nport = 'x'")
    with pytest.raises(ConfigError, match=r"node\.toml is invalid"):
        NodeFolder(node)


def test_a_node_of_version_0_1_still_opens(node: Path) -> None:
    """Its files had one JSON value a line; they are TOML of another layout."""
    (node / "node.toml").write_text('superlink = "localhost:9"\nport = 20001\n')
    rules = ["min_chunk_clients = 3", "largest_norm = 0.5", "tells_counts = false", "vocabulary_delta = 1e-05"]
    (node / "policy.toml").write_text("\n".join([*rules, 'bundles = ["aa", "bb"]', ""]))
    opened = NodeFolder(node)
    assert opened.superlink == "localhost:9"
    expected = {"min_chunk_clients": 3, "largest_norm": 0.5, "vocabulary_delta": 1e-05, "bundles": ("aa", "bb")}
    assert opened.policy() == Policy.checked(expected)
    assert Policy.checked(tomllib.loads(opened.policy().to_toml())) == opened.policy()


def test_a_new_node_is_checked_before_anything_is_made(folder: Path, tmp_path: Path) -> None:
    words = ["node", tmp_path / "n", "--corpus", "shakespeare", "--prepare-only"]
    assert "HOST:PORT" in refused(*words, "--superlink", "localhost", "--ca", folder / "server" / "ca.pem")
    assert "is not a certificate" in refused(*words, "--superlink", "localhost:1", "--ca", folder / "server" / "ca.key")
    assert "Invalid value for min_chunk_clients: 0 is below 1" in refused(
        *words, "--superlink", "localhost:1", "--ca", folder / "server" / "ca.pem", "--min-chunk-clients", 0
    )
    assert not (tmp_path / "n").exists()


def test_a_coordinator_that_is_there_keeps_what_it_was_made_with(folder: Path) -> None:
    assert "server.toml" in refused("server", folder, "--port", 1)
    assert "server.toml" in refused("server", folder, "--bind", "0.0.0.1")
    assert "not for other.example.org" in refused("server", folder, "--host", "other.example.org")
    assert "is not a deployment" in refused("add", folder / "server", folder / "x.pub")
    assert "is not a deployment" in refused("status", folder / "nothing")
    (folder / "server" / "server.key").chmod(0o644)
    assert "chmod 600" in refused("status", folder)
    (folder / "server" / "server.key").unlink()
    assert "has no server.key" in refused("server", folder)


def test_a_port_that_another_process_has_is_named(folder: Path) -> None:
    with closing(open_port("127.0.0.1", ServerFolder(folder / "server").port)):
        assert "cannot be opened (Address already in use)" in refused("server", folder)
    with pytest.raises(ConfigError, match="no host:1 cannot be opened"):
        open_port("no host", 1)
    settings = folder / "server" / "server.toml"
    settings.write_text(settings.read_text().replace("superlink_port = ", "superlink_port = 1000000"))
    assert "server.toml is invalid" in refused("server", folder)


@pytest.mark.parametrize("limit", ["nodes = 0", "per_node = -1", "strangers = 2.5", "head_seconds = true", "other = 1"])
def test_an_invalid_limit_is_refused(folder: Path, limit: str) -> None:
    settings = folder / "server" / "server.toml"
    text = settings.read_text()
    settings.write_text(f"{text}\n[limits]\nstall_seconds = 5\n")
    assert ServerFolder(folder / "server").limits.stall_seconds == 5
    settings.write_text(f"{text}\n[limits]\n{limit}\n")
    assert "server.toml is invalid" in refused("server", folder)


def test_a_renewed_certificate_keeps_its_names(folder: Path) -> None:
    before = (folder / "server" / "server.pem").read_bytes()
    assert CliRunner().invoke(app, ["deploy", "server", str(folder), "--renew"]).exit_code == 0
    assert server_names(folder / "server" / "server.pem") == ["fl.example.org", "localhost", "127.0.0.1"]
    assert (folder / "server" / "server.pem").read_bytes() != before
    create_server_certificate(folder / "server", ["b.example.org"])
    assert server_names(folder / "server" / "server.pem")[0] == "b.example.org"


@pytest.mark.slow
@pytest.mark.flower
def test_a_coordinator_of_its_own_is_not_ended_by_down_and_expels_for_good(folder: Path, tmp_path: Path) -> None:
    process = start(tmp_path, "deploy", "server", folder)
    try:
        with guard([sys.executable, "-c", f"import os; os.kill({process.pid}, 9)"], tmp_path):
            control = Deployment(folder).server.control
            wait_until(lambda: Deployment(folder).status()["coordinator"] == "running", 300)
            assert supervisor(folder / "server") == process.pid
            down = fedlm("deploy", "down", folder, cwd=tmp_path)
            assert (down.returncode, "which deploy up did not start" in down.stderr) == (2, True), down.stderr
            assert control.nodes() == [] and list((folder / "server").glob("state.db"))
            again = fedlm("deploy", "server", folder, cwd=tmp_path)
            assert (again.returncode, f"served by process {process.pid}" in again.stderr) == (4, True), again.stderr
            key = shutil.copy(create_node_key(tmp_path), tmp_path / "hospital-a.pub")
            said = [
                fedlm("deploy", "add", folder, key, *more, cwd=tmp_path)
                for more in ((), ("--expel",), ("--expel",), ())
            ]
            assert [done.returncode for done in said] == [0, 0, 2, 2]
            assert "nothing to withdraw" in said[2].stderr and "--new-key" in said[3].stderr
            assert not list((folder / "server" / "nodes").glob("*"))
            process.terminate()
            assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
    assert supervisor(folder / "server") is None
