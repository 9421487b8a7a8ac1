"""The long-lived process that trains: it keeps the compiled model, the key, the open vault and the node's policy.

    --channel FD...   local engine: one vault, over an inherited socket, until the server closes it      serve
    --control FD      study: one vault after another, each over its own channel                         serve_in_turn
    --socket PATH     deployment: one message per connection to a Unix socket, under the owner's policy  listen

Vault, key and policy come from the process's own arguments; the server never names a path on a node.
"""

import argparse
import contextlib
import functools
import hashlib
import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fedlm.errors import ConfigError, FedLMError
from fedlm.system.memory import forbid_core_dumps
from fedlm.system.shortage import telling_shortage
from fedlm.training.tensorflow import load_tensorflow

if TYPE_CHECKING:
    from flwr.app import Message

    from clients.contract.contract import Site
    from clients.guard import Guard
    from clients.ipc.channel import WorkerChannel
    from clients.node import Node
    from clients.policy import Policy
    from fedlm.vault.reader import Vault


def serve(channel: "WorkerChannel", args: argparse.Namespace) -> None:
    """Answers messages until the other side closes the channel; `args` name the vault and its key."""
    load_tensorflow()
    from clients import app as client_app
    from clients.node import Node

    def reply() -> "Message | None":
        # A separate function: the request must go out of scope before the reply is sent, or its lease stays held.
        message = channel.receive()
        return None if message is None else _run_app(message)

    with _open_vault(args) as vault:
        client_app.use_node(Node(vault, allocate=channel.allocate, before=client_app.own_node()))
        while (answer := reply()) is not None:
            channel.send(answer)


def serve_in_turn(control: socket.socket, parser: argparse.ArgumentParser) -> None:
    """Serves one vault after another until the other side closes the control socket; the compiled model is kept.

    Args:
      control: delivers, for each vault, its arguments as JSON and the descriptors of the channel to serve.
      parser: of those arguments.
    """
    load_tensorflow()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of programs built anew, as each run's are
    from clients.ipc.channel import WorkerChannel

    while True:
        words, descriptors, _, _ = socket.recv_fds(control, 2**16, 3)
        if not descriptors:
            return
        args = parser.parse_args(json.loads(words))
        with WorkerChannel(descriptors) as channel, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            serve(channel, args)


def listen(args: argparse.Namespace) -> None:
    """Answers one message per connection to a Unix socket, for processes of this user only.

    The socket appears once policy, key and vault are open, and before TensorFlow is loaded, which takes seconds: a
    supervisor sees an invalid policy or a wrong key at once.
    """
    from clients.policy import Policy

    policy = Policy.load(args.policy)
    _load_plugins(policy)
    with _open_vault(args) as vault, _listener(args.socket) as listener:
        _answer_all(listener, policy, _guard(policy, vault, args))


def _load_plugins(policy: "Policy") -> None:
    """Imports what the policy allows: its owner learns of a missing plug-in now, and not in the first round that uses it.

    Raises:
      ConfigError: one is missing, or does not load.
    """
    from fedlm.plugins.calls import load_module

    if policy.plugins:
        load_tensorflow()  # in our way, before a plug-in loads it
    for name in policy.plugins:
        module, _, member = name.partition(":")
        if not hasattr(load_module("plug-in", name, module), member):
            raise ConfigError(f"The plug-in {name!r} of the policy cannot be loaded: {module} has no {member}.")


@contextlib.contextmanager
def _open_vault(args: argparse.Namespace) -> Iterator["Vault"]:
    """Yields the vault that the arguments name, locked against changes while it is open."""
    from fedlm.vault.keys import KeySource
    from fedlm.vault.locks import in_use
    from fedlm.vault.reader import Vault

    source = KeySource(args.key_file, args.passphrase_env, args.key_provider)
    with in_use(args.vault), contextlib.closing(Vault(args.vault, source)) as vault:
        yield vault


@contextlib.contextmanager
def _listener(path: Path) -> Iterator[socket.socket]:
    """Yields a listening Unix socket of this user in a folder that only this user may enter."""
    from clients.ipc.frames import private_listener

    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.parent.chmod(0o700)
    with private_listener(path) as listener:
        listener.listen(4)
        yield listener


def _guard(policy: "Policy", vault: "Vault", args: argparse.Namespace) -> "Guard":
    """Loads TensorFlow and returns the guarded node of a vault."""
    load_tensorflow()
    from clients import app as client_app
    from clients.contract.approvals import Approvals
    from clients.contract.budget import VocabularyBudget
    from clients.contract.contract import Contract
    from clients.contract.memory import Memory
    from clients.guard import Guard
    from clients.node import Node

    node = Node(vault, tells_counts=policy.tells_counts, min_group=policy.min_group, trusts_server=False)
    client_app.use_node(node, keeps_log=True)
    path, folder = args.vault, args.policy.parent
    budget = VocabularyBudget(path.with_name(f"{path.name}.spent"), policy.vocabulary_epsilon, policy.vocabulary_delta)
    memory = Memory(path.with_name(f"{path.name}.memory"), vault.derived_key("node memory"))
    contract = Contract(policy, _site(vault, folder / "ca.pem"), Approvals(folder / "runs"), memory)
    return Guard(policy, contract, lambda message: _run_logged(node, message), budget)


def _site(vault: "Vault", authority: Path) -> "Site":
    from clients.contract.contract import Site
    from clients.deploy.bundle import bundle_sha256
    from fedlm.vault.reader import training_clients

    server = hashlib.sha256(authority.read_bytes()).hexdigest() if authority.is_file() else ""
    return Site(vault.pseudonyms[training_clients(vault.index)], server, functools.cache(bundle_sha256))


def _run_logged(node: "Node", message: "Message") -> "Message":
    """Returns the node's reply; reports to the log whenever a training step had to be compiled."""
    traces = node.traces
    reply = _run_app(message)
    if node.traces != traces:
        sys.stderr.write(f"compiled a training step: {node.traces} since this worker started\n")
        sys.stderr.flush()
    return reply


def _answer_all(listener: socket.socket, policy: "Policy", guard: "Guard") -> None:
    from clients.ipc.frames import is_own_user, receive_message, send_message

    while True:
        channel, _ = listener.accept()
        with channel:
            if not is_own_user(channel):
                continue
            message = receive_message(channel, policy.max_message_bytes)
            if message is not None:
                _send(channel, send_message, guard.answer(message))


def _run_app(message: "Message") -> "Message":
    """Runs the ClientApp on one message."""
    from flwr.app import Context, RecordDict

    from clients import app as client_app

    context = Context(message.metadata.run_id, message.metadata.dst_node_id, {}, RecordDict(), {})
    return client_app.app(message, context)


def _send(channel: socket.socket, send: "Callable[[socket.socket, Message], None]", reply: "Message") -> None:
    # A killed supervisor asks again after its restart; the guard has kept the reply.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        send(channel, reply)


def _parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """Returns the parser of the command line, and that of its part that names a vault."""
    vault = argparse.ArgumentParser(add_help=False)
    vault.add_argument("--vault", type=Path)
    vault.add_argument("--key-file", type=Path)
    vault.add_argument("--passphrase-env")
    vault.add_argument("--key-provider")
    parser = argparse.ArgumentParser(description="A training process of fedlm; the engine starts it.", parents=[vault])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--channel", type=int, nargs="+", help="file descriptors: an open socket, and shared memory")
    where.add_argument(
        "--control", type=int, help="file descriptor of a socket that delivers vaults and their channels"
    )
    where.add_argument("--socket", type=Path, help="Unix socket to listen on")
    parser.add_argument("--policy", type=Path, help="the node's policy, with --socket")
    return parser, vault


def _run(args: argparse.Namespace, vault: argparse.ArgumentParser) -> None:
    """Serves in the way that the arguments choose; `vault` parses the arguments of later vaults."""
    if args.control is not None:
        serve_in_turn(socket.socket(fileno=args.control), vault)
    elif args.socket is not None:
        listen(args)
    else:
        from clients.ipc.channel import WorkerChannel

        serve(WorkerChannel(args.channel), args)


def main() -> None:
    """Runs the worker on an inherited socket, or on a Unix socket that it creates."""
    forbid_core_dumps()
    parser, vault = _parsers()
    args = parser.parse_args()
    if args.control is None and args.vault is None:
        parser.error("--vault is required")
    code = 0
    try:
        with telling_shortage():
            _run(args, vault)
    except FedLMError as error:
        sys.stderr.write(f"{error}\n")
        code = error.exit_code
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    sys.stderr.flush()
    os._exit(code)  # the vault is closed; an orderly exit of TensorFlow takes more than a second


if __name__ == "__main__":
    main()
