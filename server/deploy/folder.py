"""The coordinator's folder of a deployment, checked, and the SuperLink's command."""

import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

from clients.deploy.keys import load_certificate, load_public_key
from fedlm.errors import ConfigError, DataError
from fedlm.system.files import is_private
from fedlm.system.plain_text import read_settings
from fedlm.system.processes import child_environment, module_command
from server.deploy.control import Control
from server.deploy.gateway import Gateway
from server.deploy.limits import Limits


class ServerFolder:
    """The coordinator's folder; see docs/deployment.md.

    Args:
      path: the folder, mode 0700.

    Attributes:
      host, port: of the open port.
      superlink_port: the port on loopback at which nginx or Caddy finds the gateway, where one of them has the open port.
      max_message_bytes: largest request.
      has_gateway: whether the coordinator serves the open port itself; otherwise nginx or Caddy does.
      limits: of the gateway.
      socket: the SuperLink's.

    Raises:
      ConfigError: a setting is invalid.
      DataError: it is not such a folder, or a certificate or key is missing, damaged or readable by
        other users.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.socket = self.path / "superlink.sock"
        try:
            settings = read_settings(path / "server.toml")
            self.host, self.port = str(settings["host"]), _port(settings["port"])
            self.superlink_port = _port(settings["superlink_port"])
            self.max_message_bytes = int(settings["max_message_bytes"])
            self.has_gateway = _has_gateway(path / "server.toml", settings)
            self.limits = Limits(**settings.get("limits", {}))
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(f"{path.parent} is not a deployment: make one with fedlm deploy init or server.") from None
        except (ValueError, KeyError, TypeError):  # NotSettings is a ValueError
            raise ConfigError(f"{path / 'server.toml'} is invalid: restore the original file.") from None

        for name in ("ca.pem", "server.pem", "server.key"):
            if not (path / name).is_file():
                raise DataError(f"{path} has no {name}: restore it, or run fedlm deploy server --renew.")
        for name in ("ca.pem", "server.pem"):
            load_certificate(path / name)
        if not is_private(path / "server.key"):
            raise DataError(f"Other users may read the coordinator's key {path / 'server.key'}: run chmod 600 on it.")

    @property
    def control(self) -> Control:
        """Calls to the SuperLink."""
        return Control(self.socket)

    @property
    def gateway(self) -> Gateway:
        """The gateway between the nodes and the SuperLink."""
        limits = self.limits if self.has_gateway else self.limits.behind_a_proxy()
        return Gateway(self.socket, self.path, self.max_message_bytes, limits)

    @property
    def listens(self) -> tuple[str, int]:
        """Host and port of the gateway: the open port, or one on loopback behind nginx or Caddy."""
        return (self.host, self.port) if self.has_gateway else ("127.0.0.1", self.superlink_port)

    def superlink(self) -> list[str]:
        """Returns the SuperLink's command."""
        options = {
            "--socket": str(self.socket),
            "--database": str(self.path / "state.db"),
            "--ssl-certfile": str(self.path / "server.pem"),  # Flower admits nodes by key only where it has these
            "--ssl-keyfile": str(self.path / "server.key"),
            "--ssl-ca-certfile": str(self.path / "ca.pem"),
        }
        flags = ["--enable-supernode-auth", "--disable-runtime-dependency-installation"]
        return module_command("server.deploy.superlink", *(word for pair in options.items() for word in pair), *flags)

    @property
    def environment(self) -> dict[str, str]:
        """The SuperLink's variables; its executor looks Flower's commands up on PATH."""
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
        return child_environment({"FLWR_HOME": str(self.path / "flwr"), "PATH": path})

    def admits(self) -> dict[bytes, str]:
        """Returns the public key (PEM) of each node to admit, from the files in `nodes/`, and the name of its file."""
        return {load_public_key(file): file.stem for file in sorted((self.path / "nodes").glob("*.pub"))}

    def register_all(self) -> None:
        """Registers them with the SuperLink."""
        for key in self.admits():
            self.control.register(key)


def _has_gateway(file: Path, settings: Mapping[str, object]) -> bool:
    if "door" in settings and "gateway" not in settings:  # until 0.1
        warnings.warn(f"`door` in {file} is now called `gateway`: rename it.", FutureWarning, stacklevel=3)
        return bool(settings["door"])
    return bool(settings.get("gateway", True))


def _port(number: object) -> int:
    if not isinstance(number, int) or not 0 < number < 65536:
        raise ValueError
    return number
