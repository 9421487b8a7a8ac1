"""Makes the folders of a deployment: one for the coordinator, and one for each owner."""

import hashlib
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import tomli_w

from clients.deploy.folder import free_port, make_node
from clients.policy import Policy
from fedlm.config import RunConfig
from fedlm.data.corpus import is_public
from fedlm.errors import ConfigError
from fedlm.preparation.gather import Preparation
from fedlm.preparation.vault import TooFewClients, prepare
from fedlm.privacy.guarantee import check_selection
from fedlm.system.files import check_new_folder, write_atomic
from fedlm.vault.keys import KeySource
from server.deploy.certificates import create_authority, create_server_certificate
from server.deploy.coordinator import open_port
from server.deploy.members import DEFAULT_MAX_CLIENTS, set_max_clients
from server.deploy.proxies import write_configurations

Progress = Callable[[int, int], None]


def init(
    path: Path, nodes: int, corpus: str, config: RunConfig, hosts: Sequence[str], policy: Policy, progress: Progress
) -> list[str]:
    """Makes a deployment on one machine, whole or not at all.

    Args:
      path: the deployment's folder, which must not exist.
      nodes: the number of owners; the clients of the corpus are split among them by a hash of their
        names.
      corpus: see `open_corpus`.
      config: of later runs; preparation uses it too.
      hosts: names and addresses in the server certificate besides loopback.
      policy: of every node.
      progress: called while vaults are made.

    Returns:
      Lines about who and what of the corpus is in no node's vault.

    Raises:
      ConfigError: `path` exists, `nodes` is below 1, or a node gets too few clients.
    """
    check_new_folder(path, "name another folder, or remove it first")
    if nodes < 1:
        raise ConfigError(f"A deployment needs at least one node, not {nodes}.")
    check_selection(config.privacy, {"max_clients": config.max_clients, "public": is_public(corpus)})
    path.mkdir(parents=True, mode=0o700)
    told = list[str]()
    try:
        server = make_server(path / "server", hosts, "127.0.0.1", 0, policy.max_message_bytes)
        (path / "config.toml").write_text(config.to_toml())
        config = with_pseudonym_key(path / "pseudonym.key", corpus, config)
        for place in range(nodes):
            folder = path / "nodes" / str(place + 1)
            make_node(folder, f"127.0.0.1:{server}", path / "server" / "ca.pem", policy)
            done = _seal_share(corpus, folder / "vault.db", config, progress, place, nodes)
            told += [f"node {place + 1}: {line}" for line in done.told(config.min_documents)]
            clients = done.clients
            if clients < policy.min_chunk_clients:
                raise ConfigError(
                    f"min_chunk_clients={policy.min_chunk_clients} can never be met: node {place + 1} has {clients} clients."
                )
            if clients > DEFAULT_MAX_CLIENTS // 2:  # room for text that is added later
                set_max_clients(path / "server" / "nodes", str(place + 1), 2 * clients)
            shutil.copy(folder / "node.key.pub", path / "server" / "nodes" / f"{place + 1}.pub")
    except BaseException:
        shutil.rmtree(path)
        raise
    return told


def _seal_share(corpus: str, vault: Path, config: RunConfig, progress: Progress, place: int, nodes: int) -> Preparation:
    """Makes one node's vault; returns what is in it, and what is not."""
    source = KeySource(vault.with_name(f"{vault.name}.key"))
    try:
        return prepare(corpus, vault, source, config, progress, keep=lambda name: owner(name, nodes) == place)
    except TooFewClients as error:
        if nodes == 1:
            raise
        raise ConfigError(
            f"Node {place + 1} of {nodes} gets none of the clients of {corpus}: make fewer nodes. ({error})"
        ) from None


def owner(name: str, nodes: int) -> int:
    """Returns which of the nodes (from 0) a client of the corpus belongs to."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:8], "little") % nodes


def with_pseudonym_key(path: Path, corpus: str, config: RunConfig) -> RunConfig:
    """Makes the federation's pseudonym key for a private corpus; a built-in one keeps the seed's, so that runs repeat."""
    if config.pseudonym_key or is_public(corpus):
        return config
    write_atomic(path, secrets.token_hex(32), private=True)
    return RunConfig.checked({**config.model_dump(), "pseudonym_key": str(path)})


def make_server(path: Path, hosts: Sequence[str], host: str, port: int, max_message_bytes: int) -> int:
    """Makes the coordinator's folder, whole or not at all; returns its open port (`port`, or a free one for 0).

    Raises:
      ConfigError: a host name is invalid, or the port cannot be opened.
    """
    port, superlink = port or free_port(), free_port()
    open_port(host, port).close()
    path.mkdir(parents=True, mode=0o700)
    try:
        for name in ("nodes", "flwr"):
            (path / name).mkdir(mode=0o700)
        create_authority(path)
        create_server_certificate(path, hosts)
        write_configurations(path, port, superlink, max_message_bytes)
        settings = {
            "host": host,
            "port": port,
            "superlink_port": superlink,
            "max_message_bytes": max_message_bytes,
            "gateway": True,
        }
        write_atomic(path / "server.toml", tomli_w.dumps(settings))
    except BaseException:
        shutil.rmtree(path)
        raise
    return port
