"""The folder of a node on its owner's machine, checked, and the commands of the node's processes."""

import contextlib
import os
import secrets
import shutil
import socket
import ssl
from pathlib import Path

import tomli_w
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from clients.deploy.bundle import bundle_sha256
from clients.deploy.connection import host_and_port
from clients.deploy.keys import create_node_key, load_certificate
from clients.policy import Policy
from fedlm.errors import ConfigError, DataError
from fedlm.system.files import check_new_folder, is_private, write_atomic
from fedlm.system.plain_text import read_settings
from fedlm.system.processes import module_command
from fedlm.text.presets import PRESETS

_FILES = ("node.key", "node.key.pub", "ca.pem", "policy.toml", "vault.db")


class NodeFolder:
    """A node's folder; see docs/deployment.md.

    Args:
      path: the folder, mode 0700.

    Raises:
      ConfigError: node.toml or policy.toml is invalid.
      DataError: it is not a node's folder, one of its files is missing or damaged, or other users may read the node's key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        try:
            settings = read_settings(path / "node.toml")
            self.superlink = settings["superlink"]
            if not isinstance(self.superlink, str):
                raise TypeError
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(f"{path} is not a node's folder: it has no node.toml.") from None
        except (ValueError, KeyError, TypeError):  # NotSettings is a ValueError
            raise ConfigError(f'{path / "node.toml"} is invalid; it needs superlink = "HOST:PORT".') from None
        host_and_port(self.superlink)
        for name in _FILES:
            if not (path / name).is_file():
                raise DataError(f"The node's folder {path} is incomplete: {name} is missing; restore it.")
        if not is_private(path / "node.key"):
            raise DataError(f"Other users may read the node's key {path / 'node.key'}: run chmod 600 on it.")
        self._check_keys()
        self.policy()
        self.socket = self.path / "socket" / "worker.sock"
        self.tasks = self.path / "socket" / "supernode.sock"

    def _check_keys(self) -> None:
        for name, load in (("node.key", _load_key), ("ca.pem", _load_authority)):
            try:
                load(self.path / name)
            except (ValueError, UnsupportedAlgorithm, ssl.SSLError):
                raise DataError(f"{self.path / name} is damaged: restore it, or get a new copy.") from None

    def policy(self) -> Policy:
        """Reads the policy again: a changed file applies from the next message on."""
        return Policy.load(self.path / "policy.toml")

    def supernode(self) -> list[str]:
        """Returns the SuperNode's command."""
        options = {
            "--superlink": self.superlink,
            "--root-certificates": str(self.path / "ca.pem"),
            "--auth-supernode-private-key": str(self.path / "node.key"),
            "--isolation": "process",
            "--superexec-auth-secret-file": str(self.path / "secret"),
            "--socket": str(self.tasks),
        }
        return module_command("clients.deploy.supernode", *(word for pair in options.items() for word in pair))

    def worker(self) -> list[str]:
        """Returns the worker's command."""
        options = {
            "--socket": self.socket,
            "--policy": self.path / "policy.toml",
            "--vault": self.path / "vault.db",
            "--key-file": self.path / "vault.db.key",
        }
        return module_command("clients.worker", *(word for pair in options.items() for word in pair))

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of SuperNode and worker in addition to `child_environment`."""
        return {
            "FLWR_HOME": str(self.path / "flwr"),
            "KERAS_HOME": str(self.path / "flwr"),  # otherwise Keras writes to the user's home directory,
            "MPLCONFIGDIR": str(self.path / "flwr"),  # and so does Matplotlib, which Keras imports
            PRESETS: os.environ.get(PRESETS, str(self.path / "presets")),
        }


def _load_key(path: Path) -> None:
    load_ssh_private_key(path.read_bytes(), None)


def _load_authority(path: Path) -> None:
    ssl.create_default_context(cafile=str(path))


_FIRST_PORT, _PORTS = 20000, 10000


def make_node(path: Path, superlink: str, authority: Path, policy: Policy) -> None:
    """Makes an owner's folder, without the vault.

    Raises:
      ConfigError: `path` exists or cannot be made, or the address is invalid.
      DataError: the authority's certificate is missing or damaged.
    """
    check_new_folder(path, "name another folder")
    host_and_port(superlink)
    load_certificate(authority)
    path.mkdir(parents=True, mode=0o700)
    for name in ("flwr", "socket"):
        (path / name).mkdir(mode=0o700)
    shutil.copy(authority, path / "ca.pem")
    create_node_key(path)
    allowed = policy.model_copy(update={"bundles": (bundle_sha256(),)})
    write_atomic(path / "policy.toml", allowed.to_toml())
    write_atomic(path / "node.toml", tomli_w.dumps({"superlink": superlink}))


def free_port() -> int:
    """Returns a free port on loopback, below the range of Linux's outgoing connections (32768 and above)."""
    while True:
        port = _FIRST_PORT + secrets.randbelow(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
