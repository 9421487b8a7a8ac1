"""A node as its owner runs it: vault, policy, contract, memory and guard, in this process."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Message

from clients import app as client_app
from clients.contract.approvals import Approvals
from clients.contract.contract import Contract, Site
from clients.contract.memory import Memory
from clients.guard import Guard
from clients.policy import Policy
from fedlm.config import RunConfig
from fedlm.messages.delivery import Delivery
from fedlm.messages.evaluation import EvaluateRequest
from fedlm.messages.fields import weights_record
from fedlm.messages.training import TrainRequest
from fedlm.preparation.vault import prepare
from fedlm.types import Evaluated, Pseudonyms, Weights
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.engines.local import take_identity

Work = Callable[[Message], Message]
RUN = "a run"


def sealed(folder: Path, texts: dict[str, Sequence[str]], holdout: float = 0.0) -> Path:
    """Seals each user's documents as they are; returns the vault, with its key beside it."""
    lines = [{"user": user, "text": text} for user, documents in texts.items() for text in documents]
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = RunConfig(scrub="none", min_documents=1, holdout_fraction=holdout)
    prepare(str(folder / "mine.jsonl"), folder / "v", KeySource(folder / "v.key"), config, lambda done, total: None)
    return folder / "v"


class Owner:
    """One owner's node.

    Args:
      path: the vault.
      policy: the owner's rules.
      work: answers what the guard lets through; by default a real node.
    """

    def __init__(self, path: Path, policy: Policy | None = None, work: Work | None = None) -> None:
        take_identity()
        self.path, self.policy, self._work = path, policy or Policy(min_chunk_clients=1, min_group=1), work
        self.approvals = Approvals(path.parent / "runs")
        self.start()

    def start(self) -> None:
        """Starts the node, again if it ran before: what it remembers is on the disk only."""
        from clients.node import Node

        vault = Vault(self.path, KeySource(self.path.with_name("v.key")))
        self.clients: Pseudonyms = vault.pseudonyms
        self.node = Node(
            vault, tells_counts=self.policy.tells_counts, min_group=self.policy.min_group, trusts_server=False
        )
        memory = Memory(self.path.with_name("v.memory"), vault.derived_key("node memory"))
        contract = Contract(self.policy, Site(vault.pseudonyms, "server", lambda: "bundle"), self.approvals, memory)
        self.guard = Guard(self.policy, contract, self._work or self._serve)

    def _serve(self, message: Message) -> Message:
        client_app.use_node(self.node)
        return client_app._answer(message)

    def accept(self) -> None:
        """Accepts every run that waits, as the owner does."""
        for manifest in list(self.approvals.waiting()):
            self.approvals.accept(manifest)

    def ask(self, message: Message, run: str = RUN) -> Message:
        """Sends a message as a deployment's server does."""
        Delivery(run, "chunk").stamp(message.content)
        return self.guard.answer(message)

    def asked(self, message: Message, run: str = RUN) -> Message:
        """Sends a message, accepts its run if that waits, and sends it again."""
        self.ask(message, run)
        self.accept()
        return self.ask(message, run)

    def initial(self, config: RunConfig) -> Weights:
        """Returns the initial weights of the run's seed."""
        from fedlm.training.trainer import LocalTrainer

        return LocalTrainer(config).weights


def training(
    config: RunConfig,
    clients: Sequence[int] | Pseudonyms,
    weights: Weights = (),
    number: int = 1,
    attempt: int = 0,
    told: dict[str, float] | None = None,
) -> Message:
    """Returns a message of training as the server would send it."""
    take_identity()
    named = np.array(clients, np.uint64)
    request = TrainRequest(
        config.to_settings(), number, named, weights_record(weights), {}, told or {}, attempt=attempt
    )
    return Message(request.content(), 2, request.kind)


def evaluation(
    config: RunConfig,
    clients: Sequence[int] | Pseudonyms,
    number: int = 1,
    weights: Weights = (),
    part: Evaluated = Evaluated.HELD_OUT,
) -> Message:
    """Returns a message of evaluation as the server would send it."""
    take_identity()
    named = np.array(clients, np.uint64)
    request = EvaluateRequest(config.to_settings(), number, named, weights_record(weights), part)
    return Message(request.content(), 2, request.kind)


def reason(reply: Message) -> str:
    """Returns the sentence of a refusal; empty for a reply."""
    return str(reply.error.reason) if reply.has_error() else ""


def changed(config: RunConfig, **values: Any) -> RunConfig:
    """Returns a configuration with other values."""
    return RunConfig(**{**config.given(), **values})


class AcceptsAll(Approvals):
    """An owner who accepts every run."""

    def accepted_by(self, sha256: str) -> str:
        return "owner"


def contract(folder: Path, policy: Policy | None = None, clients: Sequence[int] = (0, 1, 2)) -> Contract:
    """Returns a node's contract whose owner accepts every run."""
    site = Site(np.array(clients, np.uint64), "server", lambda: "bundle")
    return Contract(policy or Policy(), site, AcceptsAll(folder / "runs"), Memory(folder / "memory", bytes(32)))
