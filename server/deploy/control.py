"""The coordinator's calls to its SuperLink's control API, on a Unix socket of its user."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (  # pylint: disable=E0611
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from clients.ipc.http import client_on
from fedlm.errors import ConfigError, FedLMError


class Refused(FedLMError):
    """The SuperLink answered with an HTTP error.

    Args:
      sentence: the response.
      status: the HTTP status.
    """

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Admitted:
    """A node that the SuperLink knows.

    Attributes:
      node: Flower's id.
      key: its public key, PEM.
      status: registered (never seen), online or offline.
      since: when it last came online, ISO 8601; empty if never.
    """

    node: int
    key: bytes
    status: str
    since: str


@dataclass(frozen=True)
class Control:
    """The calls of one coordinator.

    Attributes:
      socket: the SuperLink's, in the coordinator's folder.
    """

    socket: Path

    @contextlib.contextmanager
    def _client(self) -> Iterator[ControlHttpClient]:
        version = RuntimeVersionHttpInterceptor(component_name="flwr CLI")
        try:
            with client_on(self.socket, ControlHttpClient, [version]) as client:
                yield client
        except httpx.TransportError:
            raise FedLMError(
                f"The SuperLink of {self.socket.parent.parent} does not respond: start it with fedlm deploy up or server."
            ) from None
        except httpx.HTTPStatusError as error:
            raise Refused(
                f"The SuperLink refused the request: {error.response.text[:300]}", error.response.status_code
            ) from None

    def register(self, public_key: bytes) -> None:
        """Admits a node, unless it has been admitted already.

        Raises:
          ConfigError: the key was expelled.
        """
        if any(n.key == public_key for n in self.nodes()):
            return
        try:
            with self._client() as client:
                client.RegisterNode(RegisterNodeRequest(public_key=public_key))
        except Refused as error:
            if "already in use" not in str(error):
                raise
            raise ConfigError(
                "This key was expelled, and the SuperLink never admits an expelled key again: its owner must make a new one with "
                "fedlm deploy node NODE --new-key."
            ) from None

    def expel(self, public_key: bytes) -> bool:
        """Revokes a node's admission; returns whether it had one."""
        found = [n.node for n in self.nodes() if n.key == public_key]
        for node in found:
            with self._client() as client:
                client.UnregisterNode(UnregisterNodeRequest(node_id=node))
        return bool(found)

    def nodes(self) -> list[Admitted]:
        """Returns every admitted node."""
        with self._client() as client:
            found = client.ListNodes(ListNodesRequest()).nodes_info
        return [
            Admitted(n.node_id, n.public_key, n.status, n.last_activated_at or "")
            for n in found
            if n.status != "unregistered"
        ]

    def start(self, bundle: bytes, out: Path) -> int:
        """Submits the app; returns Flower's id of the run."""
        fab = Fab(hashlib.sha256(bundle).hexdigest(), bundle, {})
        with self._client() as client:
            request = StartRunRequest(
                fab=fab_to_proto(fab), override_config=user_config_to_proto({"out": str(out)}), federation=""
            )
            return int(client.StartRun(request).run_id)

    def stop(self, run: int) -> None:
        """Stops a run, unless it has finished."""
        if self.status(run)[0] != "finished":
            with self._client() as client:
                client.StopRun(StopRunRequest(run_id=run))

    def status(self, run: int) -> tuple[str, str]:
        """Returns a run's status and its details; a run that the SuperLink does not know counts as finished."""
        try:
            with self._client() as client:
                found = client.ListRuns(ListRunsRequest(run_id=run)).run_dict[run].status
        except Refused as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return "finished", "the SuperLink does not know it"
        return found.status, f"{found.sub_status} {found.details}".strip()
