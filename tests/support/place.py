"""A deployment of three nodes, up, that the tests with real processes share, and the same training as a simulation."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.deploy.folder import ServerFolder
from tests.support.deployments import fedlm, finish, processes, sets, start
from tests.support.guard import guard
from tests.support.relays import Relay

MEGABYTES = 64


def contents(folder: Path) -> dict[str, str]:
    """Returns the hash of every file of a folder, by its name there."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


class Place:
    """A deployment `d` of three nodes in a folder, up; and the same training as a simulation, `local`.

    Node 1 reaches the coordinator through a relay that keeps what is on the wire; node 2 through one that opens it.
    `user` is the home of the user whose commands these are.
    """

    def __init__(self, home: Path, user: Path, simulation: subprocess.Popen[str]) -> None:
        self.home, self.user, self.folder = home, user, home / "d"
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


@contextmanager
def as_user(home: Path) -> Iterator[None]:
    """Lets commands run with another home, and with no Flower folder named."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.delenv("FLWR_HOME", raising=False)
        yield


@contextmanager
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Makes the place, up; takes it down, and checks that nothing is left and nothing outside was touched."""
    home = tmp_path_factory.mktemp("deploy")
    user = tmp_path_factory.mktemp("user")
    (user / ".flwr").mkdir()
    (user / ".flwr" / "config.toml").write_text('[superlink]\ndefault = "mine"\n')
    before = contents(user)
    simulation = start(home, "simulate", "shakespeare", *sets(), "--workers", 1, "--out", "local", "--json")
    with guard([sys.executable, "-m", "fedlm", "deploy", "down", "d"], home):
        with as_user(user):
            place = Place(home, user, simulation)
            up = fedlm("deploy", "up", "d", cwd=home)
        try:
            assert up.returncode == 0, up.stderr
            yield place
        finally:
            with as_user(user):
                down = fedlm("deploy", "down", "d", cwd=home)
            place.wire.close()
            place.opened.close()
    assert down.returncode == 0, down.stderr
    assert processes(place.folder) == {}
    assert not list(place.server.path.glob("state.db*"))
    assert contents(user) == before


def admitted(place: Place) -> list[bytes]:
    """Returns the keys that the SuperLink takes."""
    return [node.key for node in place.server.control.nodes()]
