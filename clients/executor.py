"""A node of a deployment: it supervises the SuperNode and the worker, and hands each message from one to the other.

The SuperNode runs in Flower's process isolation, so it starts no code by itself. This process acquires ClientApp tasks
only, refuses a bundle that the owner has not allowed, and never runs code of a bundle: the worker has the installed
package. A bundle can therefore ask for what the policy allows and for nothing else.
"""

import argparse
import contextlib
import os
import re
import secrets
import signal
import sys
import time
import tomllib
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
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from flwr.supernode.runtime.run_clientapp import push_message, push_task_output

from clients.children import Child
from clients.frames import call_worker
from clients.memory import worker_environment
from clients.policy import REFUSED, Policy
from clients.task import take_task
from fedlm.data.preset import PRESETS
from fedlm.errors import FedLMError, VaultError

_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
_POLL_SECONDS = 0.1
_LOST = 4


class NodeFolder:
    """What an owner's machine holds of a deployment; see docs/deployment.md.

    Args:
      path: the folder, mode 0700.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        settings = tomllib.loads((path / "node.toml").read_text())
        self.superlink, self.port = str(settings["superlink"]), int(settings["port"])
        self.socket = self.path / "socket" / "worker.sock"

    def supernode(self) -> list[str]:
        """Returns the SuperNode's command."""
        options = {
            "--superlink": self.superlink,
            "--root-certificates": str(self.path / "ca.pem"),
            "--auth-supernode-private-key": str(self.path / "node.key"),
            "--isolation": "process",
            "--superexec-auth-secret-file": str(self.path / "secret"),
            "--host": "127.0.0.1",
            "--port": str(self.port),
        }
        return [sys.executable, "-P", "-m", "clients.supernode", *(w for o in options.items() for w in o)]

    def worker(self) -> list[str]:
        """Returns the worker's command."""
        words = [sys.executable, "-P", "-m", "clients.worker", "--socket", str(self.socket)]
        words += ["--policy", str(self.path / "policy.toml"), "--vault", str(self.path / "vault.db")]
        return [*words, "--key-file", str(self.path / "vault.db.key")]

    @property
    def environment(self) -> dict[str, str]:
        """What the SuperNode and the worker get besides this process' own variables."""
        return {
            "FLWR_HOME": str(self.path / "flwr"),
            "KERAS_HOME": str(self.path / "flwr"),  # else it writes into the user's home
            PRESETS: os.environ.get(PRESETS, str(self.path / "presets")),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        }


class NodeProcess:
    """The supervisor and executor of one node.

    Args:
      folder: the node's folder.
    """

    def __init__(self, folder: NodeFolder) -> None:
        self._folder = folder
        self._log = folder.path / "supernode.log"
        self._secret = secrets.token_bytes(32)
        secret = folder.path / "secret"
        secret.unlink(missing_ok=True)
        with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(self._secret)
        environment = folder.environment
        self._supernode = Child(folder.supernode(), self._log, environment, before=self._sign_off)
        self._worker = Child(folder.worker(), folder.path / "worker.log", worker_environment() | environment)

    def run(self) -> None:
        """Serves until a signal ends the process."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            while True:
                self._worker.watch()
                self._supernode.watch()
                try:
                    self._serve_one()
                except Exception as error:  # noqa: BLE001 - the supervisor outlives whatever happens to its SuperNode
                    if self._supernode.alive and not isinstance(error, httpx.ConnectError):
                        sys.stderr.write(f"{time.strftime('%H:%M:%S')} a task was dropped: {type(error).__name__}\n")
                time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            pass
        finally:
            self._supernode.stop()
            self._worker.stop()

    def _client(self, *interceptors: object) -> RuntimeHttpClient:
        return RuntimeHttpClient.from_server_address(
            f"127.0.0.1:{self._folder.port}",
            insecure=True,  # loopback; a task is given out against the secret only
            root_certificates=None,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="SuperExec"), *interceptors],  # type: ignore[list-item]
        )

    def _serve_one(self) -> None:
        """Acquires one task, if there is one, and answers it."""
        signed = SuperExecAuthHttpInterceptor(master_secret=self._secret, protected_methods={_ACQUIRE})
        with self._client(signed) as client:
            task = client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP]))
        if task.HasField("task") and task.token:
            with self._client(RuntimeTokenHttpInterceptor(task.token)) as client:
                self._answer(client)

    def _answer(self, client: RuntimeHttpClient) -> None:
        heartbeat = HeartbeatSender(make_task_heartbeat_fn_http(client))
        heartbeat.start()
        try:
            message, context, digest, whole = take_task(client)
            policy = Policy.load(self._folder.path / "policy.toml")
            refusal = policy.refusal(digest, message_to_proto(message).ByteSize() if whole else 0)
            if refusal:
                reply = Message(Error(REFUSED, refusal), reply_to=message)
            elif not whole:
                reply = Message(Error(_LOST, "The message's content did not reach the node."), reply_to=message)
            else:
                reply = self._work(message)
            push_message(client, reply, context)
            push_task_output(client, context, SubStatus.COMPLETED, "")
        finally:
            if heartbeat.is_running:
                heartbeat.stop()

    def _work(self, message: Message) -> Message:
        """Asks the worker; once more after it was lost."""
        for _ in range(2):
            with contextlib.suppress(VaultError):
                return call_worker(self._folder.socket, message, meanwhile=self._worker.watch)
        return Message(
            Error(_LOST, "The node's worker was lost twice over one message; see its log."), reply_to=message
        )

    def _sign_off(self) -> None:
        """Tells the SuperLink that a killed SuperNode is gone; else it refuses the next one for a minute."""
        found = re.findall(rb"SuperNode ID: (\d+)", self._log.read_bytes()) if self._log.is_file() else []
        if not found:
            return
        key = load_ssh_private_key((self._folder.path / "node.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        auth = NodeAuthHttpInterceptor(key, key.public_key())
        version = RuntimeVersionHttpInterceptor(component_name="SuperNode")
        address, certificate = self._folder.superlink, str(self._folder.path / "ca.pem")
        with (
            contextlib.suppress(httpx.HTTPError, RuntimeError),
            FleetHttpClient.from_server_address(address, False, certificate, interceptors=[version, auth]) as client,
        ):
            client.DeactivateNode(DeactivateNodeRequest(node_id=int(found[-1])))


def main() -> None:
    """Runs the node of a folder."""
    parser = argparse.ArgumentParser(description="A node of a deployment; `fedlm deploy` starts it.")
    parser.add_argument("folder", type=Path)
    try:
        NodeProcess(NodeFolder(parser.parse_args().folder)).run()
    except FedLMError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
