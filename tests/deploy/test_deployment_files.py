"""Files for real hosts: what they start is a command that there is, and the only open port is the gateway's."""

import configparser
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from fedlm.cli import deploy
from server.deploy.folder import ServerFolder
from server.deploy.setup import make_server

FILES = Path(__file__).parents[2] / "docs" / "deployment"


def parsed(words: list[str]) -> dict[str, object]:
    """Returns the parameters that `fedlm deploy` takes from a command line; nothing runs."""
    assert [Path(words[0]).name, words[1]] == ["fedlm", "deploy"]
    command = typer.main.get_command(deploy.app).commands[words[2]]  # type: ignore[attr-defined]
    return dict(command.make_context(words[2], words[3:]).params)


def test_compose_starts_commands_that_there_are_and_opens_one_port() -> None:
    services = yaml.safe_load((FILES / "compose.yaml").read_text())["services"]
    assert {name: service["profiles"] for name, service in services.items()} == {
        "coordinator": ["coordinator"],
        "node": ["node"],
    }
    server, node = parsed(services["coordinator"]["command"]), parsed(services["node"]["command"])
    assert services["coordinator"]["ports"] == [f"{server['port']}:{server['port']}"]
    assert "ports" not in services["node"]
    assert (server["folder"], node["folder"]) == ("/data/deployment", "/data/node")
    for service in services.values():
        assert service["user"] == "10001:10001" and service["read_only"] and service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", ["coordinator", "node"])
def test_systemd_units_start_commands_that_there_are_as_a_user_of_their_own(name: str) -> None:
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(FILES / f"fedlm-{name}.service")
    service = unit["Service"]
    folder = parsed(shlex.split(service["ExecStart"]))["folder"]
    assert str(folder).startswith(service["ReadWritePaths"])
    assert (service["User"], service["Restart"], service["UMask"]) == ("fedlm", "always", "0077")


def test_nginx_and_caddy_pass_the_fleet_api_on_and_nothing_else(tmp_path: Path) -> None:
    port = make_server(tmp_path / "server", ["fl.example.org"], "127.0.0.1", 0, 64 * 2**20)
    folder = ServerFolder(tmp_path / "server")
    assert folder.has_gateway and folder.listens == ("127.0.0.1", port)
    for name, size, refusal in (("nginx.conf", "64m;", "return 403"), ("Caddyfile", "64MiB", "respond 403")):
        text = (folder.path / name).read_text()
        assert text.count("{") == text.count("}")
        assert text.count("^/v1/fleet/") == 1 and refusal in text and size in text
        assert f"127.0.0.1:{folder.superlink_port}" in text and str(port) in text
        assert str(folder.path / "ca.pem") in text  # the gateway's own certificate is checked too
    settings = folder.path / "server.toml"
    written = settings.read_text()
    settings.write_text(written.replace("gateway = true", "gateway = false"))
    behind = ServerFolder(folder.path)
    assert not behind.has_gateway and behind.listens == ("127.0.0.1", folder.superlink_port)
    settings.write_text(written.replace("gateway = true\n", ""))
    assert ServerFolder(folder.path).has_gateway
    for old, expected in (("true", True), ("false", False)):  # deployments of version 0.1
        settings.write_text(written.replace("gateway = true", f"door = {old}"))
        with pytest.warns(FutureWarning, match="now called `gateway`"):
            assert ServerFolder(folder.path).has_gateway == expected
