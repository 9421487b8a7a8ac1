"""What the gateway's checks cost: small requests a second through two versions, in turns.

    git worktree add /tmp/before COMMIT
    python -m tests.support.measure_gateway /tmp/before .

Each version runs its own coordinator, gateway and SuperLink; a node sends heartbeats over one connection. Prints a line of
JSON: requests a second of each version (median over the turns), and the ratio of the second to the first turn by turn.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import httpx
from flwr.proto.fleet_pb2 import ActivateNodeRequest  # pylint: disable=E0611
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest  # pylint: disable=E0611
from flwr.proto.node_pb2 import Node  # pylint: disable=E0611
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from tests.support.signing import admitted_key

TURNS, REQUESTS = 20, 40
_MAKE = "import sys; from pathlib import Path; from server.deploy.setup import make_server; "
_MAKE += "make_server(Path(sys.argv[1]), [], '127.0.0.1', int(sys.argv[2]), 2**26)"


@contextlib.contextmanager
def serving(tree: Path, home: Path) -> Iterator[tuple[FleetHttpClient, int]]:
    """Runs the coordinator of a source tree; yields a client of its gateway and the id of its node."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(tree.resolve())}
    subprocess.run([sys.executable, "-P", "-c", _MAKE, home / "server", str(port)], env=environment, check=True)
    key = admitted_key(home / "server", home)
    words = [sys.executable, "-P", "-m", "server.deploy.coordinator", str(home / "server")]
    interceptors: list[ProtobufClientInterceptor] = [
        RuntimeVersionHttpInterceptor("SuperNode"),
        NodeAuthHttpInterceptor(key, key.public_key()),
    ]
    with (home / "log").open("wb") as log, subprocess.Popen(words, env=environment, stdout=log, stderr=log) as process:
        try:
            certificate = str(home / "server" / "ca.pem")
            address = f"127.0.0.1:{port}"
            with FleetHttpClient.from_server_address(address, False, certificate, interceptors) as client:
                yield client, _activated(client, public_key_to_bytes(key.public_key()))
        finally:
            process.terminate()


def _activated(client: FleetHttpClient, key: bytes) -> int:
    while True:
        with contextlib.suppress(httpx.HTTPError):
            return int(client.ActivateNode(ActivateNodeRequest(public_key=key, heartbeat_interval=1000)).node_id)
        time.sleep(0.5)


def rate(client: FleetHttpClient, node: int) -> float:
    """Returns how many heartbeats a second succeed, one after the other."""
    request, begun = SendNodeHeartbeatRequest(node=Node(node_id=node), heartbeat_interval=1000), time.perf_counter()
    for _ in range(REQUESTS):
        client.SendNodeHeartbeat(request)
    return REQUESTS / (time.perf_counter() - begun)


def main() -> None:
    """Runs the script."""
    with contextlib.ExitStack() as stack:
        homes = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in sys.argv[1:3]]
        ends = [stack.enter_context(serving(Path(t), h)) for t, h in zip(sys.argv[1:3], homes, strict=True)]
        for end in ends:
            rate(*end)
        turns = [[rate(*end) for end in ends] for _ in range(TURNS)]
    ratios = sorted(after / before for before, after in turns)
    rates = [round(median(turn[place] for turn in turns), 1) for place in (0, 1)]
    print(json.dumps({"before": rates[0], "after": rates[1], "ratio": round(median(ratios), 3), "ratios": ratios}))


if __name__ == "__main__":
    main()
