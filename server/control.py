"""The coordinator's own calls to its SuperLink's control API, on loopback."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
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

from fedlm.errors import FedLMError


@dataclass(frozen=True)
class Control:
    """Calls of one coordinator.

    Attributes:
      port: the SuperLink's port on loopback.
      authority: the certificate authority's file.
    """

    port: int
    authority: Path

    @contextlib.contextmanager
    def _client(self) -> Iterator[ControlHttpClient]:
        version = RuntimeVersionHttpInterceptor(component_name="flwr CLI")
        address, certificate = f"127.0.0.1:{self.port}", self.authority.read_bytes()
        try:
            with ControlHttpClient.from_server_address(address, False, certificate, interceptors=[version]) as client:
                yield client
        except httpx.TransportError:
            raise FedLMError(f"The SuperLink on {address} does not answer: start it with fedlm deploy up.") from None
        except httpx.HTTPStatusError as error:
            raise FedLMError(f"The SuperLink refused: {error.response.text[:300]}") from None

    def register(self, public_key: bytes) -> None:
        """Admits a node; one that is admitted already stays so."""
        if any(k == public_key for k, _ in self.nodes().values()):
            return
        with self._client() as client:
            client.RegisterNode(RegisterNodeRequest(public_key=public_key))

    def expel(self, public_key: bytes) -> None:
        """Takes a node's admission back."""
        for node, (key, _) in self.nodes().items():
            if key == public_key:
                with self._client() as client:
                    client.UnregisterNode(UnregisterNodeRequest(node_id=node))

    def nodes(self) -> dict[int, tuple[bytes, str]]:
        """Returns the public key and the status (registered, online, offline) of every admitted node."""
        with self._client() as client:
            found = client.ListNodes(ListNodesRequest()).nodes_info
        return {n.node_id: (n.public_key, n.status) for n in found if n.status != "unregistered"}

    def start(self, bundle: bytes, out: Path) -> int:
        """Submits the app; returns Flower's id of the run."""
        fab = Fab(hashlib.sha256(bundle).hexdigest(), bundle, {})
        with self._client() as client:
            request = StartRunRequest(
                fab=fab_to_proto(fab), override_config=user_config_to_proto({"out": str(out)}), federation=""
            )
            return int(client.StartRun(request).run_id)

    def stop(self, run: int) -> None:
        """Ends a run; one that has ended stays so."""
        if self.status(run)[0] != "finished":
            with self._client() as client:
                client.StopRun(StopRunRequest(run_id=run))

    def status(self, run: int) -> tuple[str, str]:
        """Returns a run's status, and the details of its end."""
        with self._client() as client:
            found = client.ListRuns(ListRunsRequest(run_id=run)).run_dict[run].status
        return found.status, f"{found.sub_status} {found.details}".strip()
