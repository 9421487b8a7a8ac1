"""What a coordinator knows of its nodes: how many clients each may have, and whose client each pseudonym is.

    nodes/NAME.pub    the public key of an admitted node
    nodes/NAME.toml   max_clients = N, where it is not the default
    claims.json       mode 0600: a secret key, and under the hash of each node's public key its pseudonyms

A pseudonym stays with the node that had it in an earlier run, also while that node is away. What a node no longer tells is
free again, and so is what an expelled node had: its owner returns with another key and the same pseudonyms.
"""

import contextlib
import hashlib
import json
import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from clients.deploy.keys import load_public_key
from fedlm.errors import CohortError, ConfigError, FedLMError
from fedlm.system.files import write_atomic
from fedlm.system.locks import one_at_a_time
from fedlm.system.plain_text import NotSettings, read_settings
from fedlm.types import Pseudonyms
from server.run.claims import settle

DEFAULT_MAX_CLIENTS = 100_000
CLAIMS = "claims.json"
_KEY_BYTES = 32


def set_max_clients(nodes: Path, name: str, clients: int) -> None:
    """Writes the largest number of clients of a node; `nodes` is the folder of the public keys."""
    write_atomic(nodes / f"{name}.toml", f"max_clients = {clients}\n")


def max_clients(nodes: Path, name: str) -> int:
    """Returns the largest number of clients of a node.

    Raises:
      ConfigError: the file is damaged.
    """
    file = nodes / f"{name}.toml"
    try:
        found = read_settings(file)["max_clients"] if file.is_file() else DEFAULT_MAX_CLIENTS
    except (NotSettings, KeyError):
        found = None
    if type(found) is not int or found < 1:
        raise ConfigError(f"{file} is invalid: it has one line, max_clients = N.")
    return found


class Members:
    """The nodes of a run.

    Args:
      folder: the coordinator's.
      keys: returns the public key (PEM) of each connected node.
    """

    def __init__(self, folder: Path, keys: Callable[[], Mapping[int, bytes]]) -> None:
        self._folder, self._keys, self._owners = folder, keys, dict[int, str]()
        self._names = {_digest(load_public_key(file)): file.stem for file in (folder / "nodes").glob("*.pub")}

    def name(self, node: int) -> str:
        """Returns the name of a node's key file, or its id where its key is not known."""
        with contextlib.suppress(CohortError):
            return self._names.get(self._owner(node), str(node))
        return str(node)

    def _owner(self, node: int) -> str:
        """Returns the hash of a node's public key.

        Raises:
          CohortError: the node has gone before its key was known.
        """
        if node not in self._owners:  # connected since the last look
            self._owners |= {other: _digest(key) for other, key in self._keys().items()}
        if node not in self._owners:
            raise CohortError(f"Node {node} has disconnected: resume the run once it is back.")
        return self._owners[node]

    def check(self, node: int, clients: int) -> None:
        """Refuses more clients than a node was admitted with.

        Raises:
          CohortError: it has told more.
        """
        name = self.name(node)
        limit = max_clients(self._folder / "nodes", name)
        if clients > limit:
            raise CohortError(
                f"Node {name} reports {clients} clients, and was admitted with at most {limit}: expel it, or allow as many as its "
                f"owner states with fedlm deploy add {self._folder.parent} {self._folder / 'nodes' / name}.pub --max-clients N."
            )

    def settle(self, claims: Sequence[tuple[int, Pseudonyms]]) -> list[Pseudonyms]:
        """Returns the pseudonyms that each node keeps, and remembers them for later runs.

        Raises:
          FedLMError: the file of earlier claims is damaged.
        """
        with one_at_a_time(self._folder / f".{CLAIMS}.lock"):
            key, before = self._read()
            held = {owner: old for owner, old in before.items() if owner.decode() in self._names}
            owners = [self._owner(node).encode() for node, _ in claims]
            kept = settle([(owner, told) for owner, (_, told) in zip(owners, claims, strict=True)], held, key)
            self._write(key, held | dict(zip(owners, kept, strict=True)))
        return kept

    def _read(self) -> tuple[bytes, dict[bytes, Pseudonyms]]:
        file = self._folder / CLAIMS
        if not file.is_file():
            return secrets.token_bytes(_KEY_BYTES), {}
        try:
            content = json.loads(file.read_text())
            claims = {
                k.encode(): np.frombuffer(b64decode(v, validate=True), "<u8") for k, v in content["claims"].items()
            }
            return bytes.fromhex(content["key"]), {k: v.astype(np.uint64) for k, v in claims.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise FedLMError(
                f"{file} is damaged: restore it, or remove it to let all nodes claim their clients anew."
            ) from None

    def _write(self, key: bytes, held: Mapping[bytes, Pseudonyms]) -> None:
        claims = {owner.decode(): b64encode(p.astype("<u8").tobytes()).decode() for owner, p in sorted(held.items())}
        write_atomic(self._folder / CLAIMS, json.dumps({"key": key.hex(), "claims": claims}), private=True)


def _digest(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()
