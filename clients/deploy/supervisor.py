"""A node of a deployment: it supervises the SuperNode and the worker, and hands each message from one to the other.

    SuperLink <--TLS--> SuperNode <--Unix socket, a secret--> this process <--Unix socket--> worker: key, vault, model
                        (Flower)    acquire, answer tasks                 messages

The SuperNode runs in Flower's process isolation, so it starts no code itself. This process acquires
only ClientApp tasks, refuses a bundle that the owner has not allowed, and never runs code of a
bundle: the worker runs the installed package. A bundle can therefore request only what the policy
allows.
"""

import argparse
import contextlib
import re
import secrets
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Error, Message
from flwr.common.constant import SubStatus
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import DeactivateNodeRequest  # pylint: disable=E0611
from flwr.proto.runtime_pb2 import AcquireTaskRequest  # pylint: disable=E0611
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_object import UnexpectedObjectContentError
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from flwr.supernode.runtime.run_clientapp import push_message, push_task_output
from google.protobuf.message import Error as ProtobufError  # type: ignore[import-untyped]

from clients.contract.approvals import Approvals
from clients.deploy.connection import CONNECTED, is_refusal, problem_with, state_of
from clients.deploy.folder import NodeFolder
from clients.deploy.task import take_task
from clients.ipc.claims import keeping, runtime_client
from clients.ipc.frames import call_worker
from clients.policy import REFUSED
from fedlm.errors import ConfigError, FedLMError, VaultError, error_of_code
from fedlm.system.files import write_atomic
from fedlm.system.locks import supervising
from fedlm.system.memory import forbid_core_dumps
from fedlm.system.processes import Child, child_environment, last_line
from fedlm.system.shortage import telling_shortage

_BEGUN = "Starting Flower SuperNode"  # in its log, once it has loaded everything
_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
_POLL_SECONDS, _LOOK_SECONDS = 0.1, 0.5
_ADMISSION_SECONDS = 5.0  # between two attempts of a node that has not been admitted
_LOST = 4
_FOR_GOOD = (ConfigError.exit_code, VaultError.exit_code)  # exit codes of a worker that a restart would not fix
# What one task may raise, here and in Flower's code. The task is dropped, and the coordinator sends
# its message again.
_TASK_ERRORS = (
    *(FedLMError, httpx.HTTPError, ProtobufError, ObjectPushError, UnexpectedObjectContentError),
    *(OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError),
)


class NodeProcess:
    """The supervisor and executor of one node.

    Args:
      folder: the node's folder.
      say: gets a sentence whenever the state of the connection changes.
    """

    def __init__(self, folder: NodeFolder, say: Callable[[str], object]) -> None:
        self._folder, self._say, self._said = folder, say, ""
        self._look_at, self._died_at = 0.0, 0.0
        self._approvals, self._shown = Approvals(folder.path / "runs"), set[str]()
        self._log = folder.path / "supernode.log"
        self._secret = secrets.token_bytes(32)
        more, log = folder.environment, folder.path / "worker.log"
        self._supernode = Child(folder.supernode(), self._log, child_environment(more), self._sign_off, self._tell)
        self._worker = Child(folder.worker(), log, child_environment(more, huge_pages=True), say=self._tell)

    def run(self) -> None:
        """Serves until a signal ends the process.

        Raises:
          FedLMError: the folder already has a supervisor, or the worker cannot open policy, key or
            vault.
        """
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with supervising(self._folder.path):
            write_atomic(self._folder.path / "secret", self._secret, private=True)
            self._folder.socket.unlink(missing_ok=True)
            try:
                self._serve()
            except KeyboardInterrupt:
                pass
            finally:
                self._supernode.stop()
                self._worker.stop()
                self._folder.socket.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            self._watch_worker()
            if self._folder.socket.exists():  # the vault is open
                self._watch_supernode()
            self._tell_owner()
            try:
                self._serve_one()
            except _TASK_ERRORS as error:  # its text could quote the message, so only its type is shown
                if self._supernode.alive and not isinstance(error, httpx.ConnectError):
                    self._say(f"a task was dropped: {type(error).__name__}")
            time.sleep(_POLL_SECONDS)

    def _watch_worker(self) -> None:
        if self._worker.code in _FOR_GOOD:  # policy, key or vault cannot be opened, and retrying will not help
            raise error_of_code(self._worker.code or 0, last_line(self._worker.output))
        if not self._worker.alive:
            self._tell("opening the vault")
        self._worker.watch()

    def _watch_supernode(self) -> None:
        """Keeps the SuperNode running while the coordinator responds; otherwise reports why there is no connection."""
        now, address = time.monotonic(), self._folder.superlink
        if now < self._look_at:
            return
        self._look_at, output = now + _LOOK_SECONDS, self._supernode.output
        if _BEGUN in output:  # from here on it may end whenever the coordinator does not respond
            self._supernode.ready()
        state = state_of(output, address)
        if self._supernode.alive:
            self._died_at = 0.0
            self._tell(state or f"connecting to {address}")
            return
        self._died_at = self._died_at or now
        problem = problem_with(address, self._folder.path / "ca.pem")
        self._tell(problem or ("" if state == CONNECTED else state))
        if not problem and now >= self._died_at + (_ADMISSION_SECONDS if is_refusal(state) else 0):
            self._supernode.watch()

    def _tell_owner(self) -> None:
        """Tells the owner, once for each run, that a run waits."""
        for sha256 in self._approvals.names_waiting() - self._shown:
            self._shown.add(sha256)
            self._say(f"the run {sha256[:12]} waits for you: fedlm deploy review {self._folder.path}")

    def _tell(self, state: str) -> None:
        if state and state != self._said:
            self._said = state
            self._say(state)

    def _serve_one(self) -> None:
        """Acquires one task, if there is one, and answers it."""
        signed = SuperExecAuthHttpInterceptor(master_secret=self._secret, protected_methods={_ACQUIRE})
        with runtime_client(self._folder.tasks, signed) as client:
            task = client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP]))
        if task.HasField("task") and task.token:
            with runtime_client(self._folder.tasks, token=task.token) as client:
                self._answer(client)

    def _answer(self, client: RuntimeHttpClient) -> None:
        with keeping(client):
            message, context, digest, whole = take_task(client)
            refusal = self._folder.policy().refusal(digest, message_to_proto(message).ByteSize() if whole else 0)
            if refusal:
                reply = Message(Error(REFUSED, refusal), reply_to=message)
            elif not whole:
                reply = Message(Error(_LOST, "The content of the message did not reach the node."), reply_to=message)
            else:
                reply = self._work(message)
            push_message(client, reply, context)
            push_task_output(client, context, SubStatus.COMPLETED, "")

    def _work(self, message: Message) -> Message:
        """Sends the message to the worker, and once more if the worker was lost."""
        for _ in range(2):
            with contextlib.suppress(VaultError):
                reply = call_worker(self._folder.socket, message, meanwhile=self._worker.watch)
                self._worker.ready()  # it has loaded everything
                return reply
        return Message(
            Error(_LOST, "The node's worker was lost twice during one message: see its log."), reply_to=message
        )

    def _sign_off(self) -> None:
        """Deactivates a killed SuperNode at the SuperLink, which would otherwise refuse the next one for a minute."""
        found = re.findall(rb"SuperNode ID: (\d+)", self._log.read_bytes()) if self._log.is_file() else []
        if not found:
            return
        key = load_ssh_private_key((self._folder.path / "node.key").read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError(
                f"{self._folder.path / 'node.key'} is not the key that fedlm deploy node made: restore it."
            )
        auth = NodeAuthHttpInterceptor(key, key.public_key())
        version = RuntimeVersionHttpInterceptor(component_name="SuperNode")
        address, certificate = self._folder.superlink, str(self._folder.path / "ca.pem")
        with (
            contextlib.suppress(httpx.HTTPError, RuntimeError),
            FleetHttpClient.from_server_address(address, False, certificate, interceptors=[version, auth]) as client,
        ):
            client.DeactivateNode(DeactivateNodeRequest(node_id=int(found[-1])))


def say(sentence: str) -> None:
    """Writes a sentence to stderr, with the time."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {sentence}\n")
    sys.stderr.flush()


def main() -> None:
    """Runs the node of a folder."""
    forbid_core_dumps()
    parser = argparse.ArgumentParser(description="A node of a deployment; `fedlm deploy` starts it.")
    parser.add_argument("folder", type=Path)
    try:
        with telling_shortage():
            NodeProcess(NodeFolder(parser.parse_args().folder), say).run()
    except FedLMError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
