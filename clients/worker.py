"""The long-lived process that trains: it keeps the compiled model, the key, the open vault and the node's policy.

Started by the local engine with one end of a socket pair, or by a node of a deployment with a Unix socket to listen on.
Vault, key and policy come from its own arguments; the server never names a path on a node.
"""

import argparse
import contextlib
import json
import os
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fedlm.errors import FedLMError
from fedlm.training.tensorflow import load_tensorflow

if TYPE_CHECKING:
    from flwr.app import Message

    from clients.guard import VocabularyBudget
    from clients.ipc.channel import WorkerChannel
    from clients.policy import Policy
    from fedlm.vault.reader import Vault


def serve(
    channel: "WorkerChannel", vault: Path, key_file: Path | None, passphrase_env: str | None, key_provider: str | None
) -> None:
    """Answers messages until the other side closes the channel."""
    load_tensorflow()
    from flwr.app import Context, RecordDict

    from clients import app as client_app
    from clients.node import Node
    from fedlm.vault.keys import KeySource
    from fedlm.vault.locks import in_use
    from fedlm.vault.reader import Vault

    def reply() -> "Message | None":  # what it answers is let go of before the answer is sent
        if (message := channel.receive()) is None:
            return None
        context = Context(message.metadata.run_id, message.metadata.dst_node_id, {}, RecordDict(), {})
        return client_app.app(message, context)

    source = KeySource(key_file, passphrase_env, key_provider)
    with in_use(vault), contextlib.closing(Vault(vault, source)) as opened:
        client_app.use_node(Node(opened, allocate=channel.allocate, before=client_app.own_node()))
        while (answer := reply()) is not None:
            channel.send(answer)


def serve_in_turn(control: socket.socket, parser: argparse.ArgumentParser) -> None:
    """Serves one vault after the other until the other side closes the control socket; the compiled model is kept.

    Args:
      control: brings for each vault the words that say what to open, as JSON, and the channel to serve.
      parser: of those words.
    """
    load_tensorflow()
    from clients.ipc.channel import WorkerChannel

    while True:
        words, descriptors, _, _ = socket.recv_fds(control, 2**16, 3)
        if not descriptors:
            return
        args = parser.parse_args(json.loads(words))
        with WorkerChannel(descriptors) as channel, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            serve(channel, args.vault, args.key_file, args.passphrase_env, args.key_provider)


def listen(path: Path, policy_file: Path, vault: Path, key_file: Path | None, passphrase_env: str | None) -> None:
    """Answers one message a connection on a Unix socket, for processes of this user only.

    The socket is there once policy, key and vault are open, before TensorFlow is loaded.
    """
    from clients.guard import VocabularyBudget
    from clients.ipc.frames import unix_path
    from clients.policy import Policy
    from fedlm.vault.keys import KeySource
    from fedlm.vault.locks import in_use
    from fedlm.vault.reader import Vault

    policy, held = Policy.load(policy_file), contextlib.ExitStack()
    held.enter_context(in_use(vault))
    opened = held.enter_context(contextlib.closing(Vault(vault, KeySource(key_file, passphrase_env))))
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.parent.chmod(0o700)
    path.unlink(missing_ok=True)
    with held, socket.socket(socket.AF_UNIX) as listener:
        with unix_path(path) as name:
            listener.bind(name)
        listener.listen(4)
        spent = vault.with_name(f"{vault.name}.spent")
        budget = VocabularyBudget(spent, policy.vocabulary_epsilon, policy.vocabulary_delta)
        _answer_all(listener, policy, opened, budget)


def _answer_all(listener: socket.socket, policy: "Policy", vault: "Vault", budget: "VocabularyBudget") -> None:
    load_tensorflow()
    from flwr.app import Context, Message, RecordDict

    from clients import app as client_app
    from clients.guard import Guard
    from clients.ipc.frames import receive_message, send_message
    from clients.node import Node

    node = Node(vault, tells_counts=policy.tells_counts, min_group=policy.min_group)
    client_app.use_node(node)

    def work(message: Message) -> Message:
        context, traces = (
            Context(message.metadata.run_id, message.metadata.dst_node_id, {}, RecordDict(), {}),
            node.traces,
        )
        reply = client_app.app(message, context)
        if node.traces != traces:
            sys.stderr.write(f"compiled a training step: {node.traces} since this worker started\n")
            sys.stderr.flush()
        return reply

    guard = Guard(policy, work, budget)
    while True:
        channel, _ = listener.accept()
        with channel:
            if not is_own_user(channel):
                continue
            message = receive_message(channel, policy.max_message_bytes)
            if message is not None:
                _send(channel, send_message, guard.answer(message))


def _send(channel: socket.socket, send: "Callable[[socket.socket, Message], None]", reply: "Message") -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the other side was killed; it will ask again
        send(channel, reply)


def is_own_user(channel: socket.socket) -> bool:
    """Returns whether the process at the other end is this user's."""
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(user == os.getuid())


def main() -> None:
    """Runs the worker on an inherited socket, or on one of its own."""
    vault = argparse.ArgumentParser(add_help=False)
    vault.add_argument("--vault", type=Path)
    vault.add_argument("--key-file", type=Path)
    vault.add_argument("--passphrase-env")
    vault.add_argument("--key-provider")
    parser = argparse.ArgumentParser(description="A training process of fedlm; the engine starts it.", parents=[vault])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--channel", type=int, nargs="+", help="file descriptors: an open socket, and shared memory")
    where.add_argument("--control", type=int, help="file descriptor of a socket that brings vaults and their channels")
    where.add_argument("--socket", type=Path, help="Unix socket to listen on")
    parser.add_argument("--policy", type=Path, help="the node's policy, with --socket")
    args = parser.parse_args()
    if args.control is None and args.vault is None:
        parser.error("--vault is needed")
    try:
        if args.control is not None:
            serve_in_turn(socket.socket(fileno=args.control), vault)
        elif args.socket is not None:
            listen(args.socket, args.policy, args.vault, args.key_file, args.passphrase_env)
        else:
            from clients.ipc.channel import WorkerChannel

            serve(WorkerChannel(args.channel), args.vault, args.key_file, args.passphrase_env, args.key_provider)
        code = 0
    except FedLMError as error:
        sys.stderr.write(f"{error}\n")
        code = error.exit_code
    except (KeyboardInterrupt, BrokenPipeError):
        code = 0
    sys.stderr.flush()
    os._exit(code)  # the vault is closed; taking TensorFlow down takes a second and more


if __name__ == "__main__":
    main()
