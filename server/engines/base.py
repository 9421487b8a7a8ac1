"""The engine seam: carries messages to nodes, and their replies back.

    submit(messages, timeout)  ->  one future per message  ->  a reply or an error reply, at the latest after `timeout`

An engine of `fedlm simulate` is one file with a function `run(command, workers, body, tell)`, which starts nodes for a vault,
calls `body(engine)` and stops the nodes. A deployment creates its own engine over the connected nodes.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, TypeVar

from flwr.app import Message, RecordDict

from fedlm.errors import ConfigError, error_of_code
from server.engines.workers import WorkerCommand

Result = TypeVar("Result")
Tell = Callable[[str], object]


class Engine(Protocol):
    """Nodes, and a way to send messages to them."""

    one_vault: bool
    """Whether all nodes open the same vault, so that one of them can answer for all."""

    @property
    def nodes(self) -> Sequence[int]:
        """The ids of the connected nodes."""

    @property
    def faults(self) -> dict[str, int]:
        """The number of recovered faults so far, by kind; empty without any."""

    def submit(self, messages: Sequence[Message], timeout: float | None) -> list[Future[Message]]:
        """Sends messages, several to one node in turn, and returns a future for each.

        After at most `timeout` seconds every future is done, with the node's reply or an error reply. Errors of the
        transport itself are raised by the futures. Further messages may be submitted before these have replies.
        """


def replies_to(engine: Engine, messages: Sequence[Message], timeout: float | None) -> list[Message]:
    """Sends messages and returns the replies, in the messages' order."""
    return [future.result() for future in engine.submit(messages, timeout)]


def ask(engine: Engine, questions: Sequence[tuple[int, str, RecordDict]], timeout: float | None) -> list[RecordDict]:
    """Sends contents to nodes as (node, kind, content) and returns the replies' contents.

    Raises:
      FedLMError: the node's own sentence, if one could not answer.
    """
    messages = [Message(content, node, kind) for node, kind, content in questions]
    replies = replies_to(engine, messages, timeout)
    for reply in replies:
        if reply.has_error():
            raise error_of_code(reply.error.code, str(reply.error.reason))
    return [reply.content for reply in replies]


@cache
def engine_names() -> tuple[str, ...]:
    """Returns the engines of `fedlm simulate`: the files of this folder that define `run`, without importing them."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return tuple(f.stem for f in files if "\ndef run(" in f.read_text(encoding="utf-8"))


def run_on(
    name: str, command: WorkerCommand, workers: int, body: Callable[[Engine], Result], tell: Tell = lambda _: None
) -> Result:
    """Runs a server's work over the nodes of an engine.

    Args:
      name: the engine's name.
      command: the vault and key that each node opens.
      workers: the number of nodes.
      body: the server's work.
      tell: gets a sentence when a node is lost.

    Raises:
      ConfigError: there is no such engine, or a package that it needs is not installed.
    """
    check_engine(name)
    result: Result = import_module(f"server.engines.{name}").run(command, workers, body, tell)
    return result


def check_engine(name: str) -> None:
    """Raises a ConfigError if there is no engine of this name."""
    if name not in engine_names():
        raise ConfigError(f"There is no engine {name!r}: use {' or '.join(engine_names())}.")
