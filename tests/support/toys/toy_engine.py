"""A toy engine: the nodes are objects of this process. No worker, no network; a second file is not needed."""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from flwr.app import Error, Message

from clients.node import Node
from fedlm.errors import FedLMError
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.engines.base import Engine, Result, Tell
from server.engines.flower import late
from server.engines.local import take_identity
from server.engines.workers import WorkerCommand


def run(command: WorkerCommand, workers: int, body: Callable[[Engine], Result], tell: Tell) -> Result:
    """Runs a server's work over nodes in this process; see `server.engines.base.run_on`."""
    source = KeySource(command.key_file, command.passphrase_env, command.key_provider)
    with contextlib.ExitStack() as vaults:
        opened = [vaults.enter_context(contextlib.closing(Vault(command.vault, source))) for _ in range(workers)]
        return body(ToyEngine([Node(vault) for vault in opened]))


class ToyEngine:
    """Nodes numbered from 2, with a thread each. `submit` waits itself, and leaves a late node to its thread."""

    one_vault = True
    faults: dict[str, int] = {}  # noqa: RUF012 - nothing is made up for, ever

    def __init__(self, nodes: Sequence[Any]) -> None:
        take_identity()
        self._nodes = dict(enumerate(nodes, 2))
        self._threads = {node: ThreadPoolExecutor(1) for node in self._nodes}

    @property
    def nodes(self) -> list[int]:
        return list(self._nodes)

    def submit(self, messages: Sequence[Message], timeout: float | None) -> list[Future[Message]]:
        tasks = [self._threads[m.metadata.dst_node_id].submit(self._answer, m) for m in messages]
        wait(tasks, timeout)
        return [task if task.done() else _resolved(late(m)) for task, m in zip(tasks, messages, strict=True)]

    def _answer(self, message: Message) -> Message:
        try:
            return Message(self._nodes[message.metadata.dst_node_id].answer(message), reply_to=message)
        except FedLMError as error:
            return Message(Error(error.exit_code, str(error)), reply_to=message)


def _resolved(reply: Message) -> Future[Message]:
    future: Future[Message] = Future()
    future.set_result(reply)
    return future
