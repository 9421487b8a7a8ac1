"""What an owner's machine holds of a deployment: the folder of a node, checked, and the commands that it takes."""

import contextlib
import os
import secrets
import shutil
import socket
import ssl
import sys
import tomllib
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from clients.deploy.bundle import bundle_sha256
from clients.deploy.connection import host_and_port
from clients.deploy.keys import create_node_key, load_certificate
from clients.policy import Policy
from fedlm.errors import ConfigError, VaultError
from fedlm.models.catalog import MODELS
from fedlm.system.files import is_private
from fedlm.text.presets import PRESETS

_FILES = ("node.key", "node.key.pub", "ca.pem", "policy.toml", "vault.db")


class NodeFolder:
    """A node's folder; see docs/deployment.md.

    Args:
      path: the folder, mode 0700.

    Raises:
      ConfigError: it is none, or a file of it is missing or does not do.
      VaultError: others may read the node's key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        try:
            settings = tomllib.loads((path / "node.toml").read_text())
            self.superlink, self.port = str(settings["superlink"]), int(settings["port"])
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(f"{path} is not a node's folder: it has no node.toml.") from None
        except (ValueError, KeyError, TypeError):  # TOML's and Unicode's errors are values' too
            raise ConfigError(
                f'{path / "node.toml"} does not do; it has superlink = "HOST:PORT" and port = N.'
            ) from None
        host_and_port(self.superlink)
        for name in _FILES:
            if not (path / name).is_file():
                raise ConfigError(f"{path} is no longer a whole node: {name} is missing; bring it back.")
        if not is_private(path / "node.key"):
            raise VaultError(f"Others may read the node's key {path / 'node.key'}: run chmod 600 on it.")
        self._check_keys()
        self.policy()
        self.socket = self.path / "socket" / "worker.sock"

    def _check_keys(self) -> None:
        for name, load in (("node.key", _load_key), ("ca.pem", _load_authority)):
            try:
                load(self.path / name)
            except (ValueError, UnsupportedAlgorithm, ssl.SSLError):
                raise ConfigError(f"{self.path / name} is damaged: bring it back, or get it again.") from None

    def policy(self) -> Policy:
        """Reads the owner's rules anew."""
        return Policy.load(self.path / "policy.toml")

    def supernode(self) -> list[str]:
        """Returns the SuperNode's command."""
        options = {
            "--superlink": self.superlink,
            "--root-certificates": str(self.path / "ca.pem"),
            "--auth-supernode-private-key": str(self.path / "node.key"),
            "--isolation": "process",
            "--superexec-auth-secret-file": str(self.path / "secret"),
            "--host": "127.0.0.1",
            "--port": str(self.port),
        }
        return [sys.executable, "-P", "-m", "clients.deploy.supernode", *(w for o in options.items() for w in o)]

    def worker(self) -> list[str]:
        """Returns the worker's command."""
        words = [sys.executable, "-P", "-m", "clients.worker", "--socket", str(self.socket)]
        words += ["--policy", str(self.path / "policy.toml"), "--vault", str(self.path / "vault.db")]
        return [*words, "--key-file", str(self.path / "vault.db.key")]

    @property
    def environment(self) -> dict[str, str]:
        """What the SuperNode and the worker get besides this process' own variables."""
        return {
            "FLWR_HOME": str(self.path / "flwr"),
            "KERAS_HOME": str(self.path / "flwr"),  # else it writes into the user's home, and so does
            "MPLCONFIGDIR": str(self.path / "flwr"),  # the plotting library that it loads
            PRESETS: os.environ.get(PRESETS, str(self.path / "presets")),
            MODELS: os.environ.get(MODELS, ""),  # a server names the model: without the owner's word only fedlm's own
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        }


def _load_key(path: Path) -> None:
    load_ssh_private_key(path.read_bytes(), None)


def _load_authority(path: Path) -> None:
    ssl.create_default_context(cafile=str(path))


_FIRST_PORT, _PORTS = 20000, 10000


def make_node(path: Path, superlink: str, authority: Path, policy: Policy) -> None:
    """Makes an owner's folder, without the vault.

    Raises:
      ConfigError: something is there, the address is none, or the authority's certificate is missing.
    """
    if path.exists():
        raise ConfigError(f"{path} is there already: name another folder.")
    host_and_port(superlink)
    load_certificate(authority)
    path.mkdir(parents=True, mode=0o700)
    for name in ("flwr", "socket"):
        (path / name).mkdir(mode=0o700)
    shutil.copy(authority, path / "ca.pem")
    create_node_key(path)
    allowed = policy.model_copy(update={"bundles": (bundle_sha256(),)})
    (path / "policy.toml").write_text(allowed.to_toml())
    (path / "node.toml").write_text(f'superlink = "{superlink}"\nport = {free_port()}\n')


def free_port() -> int:
    """Returns a port of loopback that is free now, below those that Linux gives to outgoing connections."""
    while True:
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
