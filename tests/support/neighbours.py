"""A deployment's run over two vaults in this process: what crosses to each node, and the run's folder."""

import json
import sqlite3
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import h5py
import numpy as np
import pytest
from flwr.app import Error, Message
from flwr.common.serde import recorddict_to_proto
from flwr.serverapp import Grid

from clients.node import Node
from fedlm.config import RunConfig
from fedlm.errors import CohortError, FedLMError
from fedlm.messages.delivery import Delivery
from fedlm.preparation.vault import prepare
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.app import run_deployed
from server.engines import network
from server.engines.local import take_identity
from server.run.summary import write_summary
from server.store.run_folder import DEPLOYED, RunFolder
from tests.support.grids import RUN, MemoryGrid

NODES = (7, 8)
SETTINGS = {
    "scrub": "none",
    "model": "rnn(units=4, layers=1)",
    "seq_len": 12,
    "rounds": 3,
    "pseudonym_key": "seed",
    "eval_every": 1,
    "client_optimizer": "sgd(learning_rate=0.5)",
    "seed": 5,
}


def seal(folder: Path, clients: Sequence[str]) -> Path:
    """Seals clients; a client's text and pseudonym are the same whoever else is there."""
    rows = [{"user": c, "text": f"{c} says {word} {word}"} for c in clients for word in ("ay", "no", "so", "we")]
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    vault = folder / "v.db"
    config = RunConfig.checked({k: SETTINGS[k] for k in ("scrub", "pseudonym_key", "seed")})
    prepare(str(folder / "rows.jsonl"), vault, source_of(vault), config, lambda done, total: None)
    return vault


def source_of(vault: Path) -> KeySource:
    """Returns the key of a vault that was sealed here."""
    return KeySource(vault.with_name("v.db.key"))


def pseudonyms(vault: Path) -> set[int]:
    """Returns the vault's clients."""
    with closing(Vault(vault, source_of(vault))) as opened:
        return set(map(int, opened.by_pseudonym()["pseudonym"]))


def break_training_text(vault: Path, client: int) -> None:
    """Flips a bit in one client's sealed training text, so that it does not open."""
    with closing(Vault(vault, source_of(vault))) as opened:
        (row_id,) = (e["row_id"].tobytes() for e in opened.by_pseudonym() if int(e["pseudonym"]) == client)
    with sqlite3.connect(vault) as database:
        ((blob,),) = database.execute("SELECT train FROM shard WHERE row_id = ?", [row_id]).fetchall()
        database.execute("UPDATE shard SET train = ? WHERE row_id = ?", [blob[:-1] + bytes([blob[-1] ^ 1]), row_id])


class Recorded:
    """A run, and what was sent to each node: everything of a message but Flower's own ids and times."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.sent: dict[int, list[bytes]] = {node: [] for node in NODES}
        self.requests: list[Message] = []

    def add(self, message: Message) -> None:
        meta = message.metadata
        head = f"{meta.dst_node_id} {meta.message_type} {meta.group_id} {meta.ttl}".encode()
        self.sent[meta.dst_node_id].append(head + recorddict_to_proto(message.content).SerializeToString())
        self.requests.append(message)


def run_over(
    vaults: Sequence[Path],
    out: Path,
    config: RunConfig,
    patch: pytest.MonkeyPatch,
    fails: Callable[[Message], bool] = lambda message: False,
) -> Recorded:
    """Runs a deployment's ServerApp over one node a vault, each with counts of its own kept to itself.

    `fails` says of a message that no node answers it. A folder that is there already is resumed.
    """
    take_identity()
    patch.setattr(network, "_POLL_SECONDS", 0.01)
    patch.setattr(network, "_LOOK_SECONDS", 0.02)
    found = Recorded(RunFolder(out) if out.exists() else RunFolder.create(out, config))
    about = {"run": "the same", "nodes": len(vaults), "coordinator": str(out.parent)}
    (out / DEPLOYED).write_text(json.dumps(about))
    with ExitStack() as stack:
        nodes: dict[int, Node] = {}
        for number, vault in zip(NODES, vaults, strict=False):
            opened = stack.enter_context(closing(Vault(vault, source_of(vault))))
            nodes[number] = Node(opened, tells_counts=False, min_group=1)
        patch.setattr(network, "uuid4", lambda: UUID(int=0))  # random, whatever the clients
        grid = MemoryGrid(lambda message: _answer(nodes, found, message, fails(message)), list(nodes))
        run_deployed(cast(Grid, grid), out, RUN)
    weights = found.folder.final_weights()
    write_summary(found.folder, found.folder.config, weights, {"corpus": "two vaults"}, 1.0, samples=False)
    return found


def _answer(nodes: dict[int, Node], found: Recorded, message: Message, fails: bool) -> Iterator[Message]:
    found.add(message)
    delivery = Delivery.of(message.content)
    try:
        if fails:
            raise CohortError("The node failed.")
        content = nodes[message.metadata.dst_node_id].answer(message)
    except FedLMError as error:
        yield Message(Error(error.exit_code, str(error)), reply_to=message)
        return
    if delivery is not None:
        delivery.echo(content)
    yield Message(content, reply_to=message)


def public_files(run: Path) -> dict[str, bytes]:
    """Returns the content of a run's folder that anyone may have, by name."""
    files = (p for p in sorted(run.rglob("*")) if p.is_file())
    names = {str(p.relative_to(run)): p for p in files}
    kept = {n: p for n, p in names.items() if n.split("/")[0] not in ("private", "checkpoint")}
    return {n: _weights_in(p) if p.suffix == ".keras" else p.read_bytes() for n, p in kept.items()}


def _weights_in(model: Path) -> bytes:
    """Returns the weights in a `.keras` file, which is a zip archive with times."""
    with zipfile.ZipFile(model) as archive, archive.open("model.weights.h5") as file, h5py.File(file) as tree:
        found: list[tuple[str, bytes]] = []
        tree.visititems(
            lambda name, node: found.append((name, np.asarray(node).tobytes())) if hasattr(node, "dtype") else None
        )
    return repr(found).encode()


def clients_asked(found: Recorded, kind: str) -> list[Any]:
    """Returns the clients of each request of a kind, in order."""
    return [m.content["config"]["clients"] for m in found.requests if m.metadata.message_type == kind]
