"""Keeps the claim on a task of Flower's runtime API while a process works on it, however slowly it starts.

    claimed --30 s without a heartbeat--> pending again: the next SuperExec starts the task a second time
    running --60 s without a heartbeat--> failed

Flower leaves the heartbeats to the app's own process. That process sends the first one after its
imports, and sends none while a library is loaded under Python's lock. On a slow machine both take
longer than the claim lasts. Whoever started the process therefore sends heartbeats for it:

    is_claimed(client)     one heartbeat; False once the task was ended, or claimed by another process
    keeping(client)        heartbeats from a thread until the block ends
    patient_claims()       in the process that keeps the tasks: a claim lasts for minutes
"""

import contextlib
import importlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
from flwr.proto.runtime_pb2 import SendTaskHeartbeatRequest  # pylint: disable=E0611
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient

from clients.ipc.http import client_on

BEAT_SECONDS = 3.0
_CLAIM_SECONDS = 120  # a claim's first heartbeat follows at once; the server of a busy machine may read it late
_STORES = ("flwr.supercore.corestate.sql_corestate", "flwr.supercore.corestate.in_memory_corestate")


def runtime_client(
    socket: Path, *interceptors: ProtobufClientInterceptor, token: str = "", component: str = "SuperExec"
) -> RuntimeHttpClient:
    """Returns a client of the runtime API on a Unix socket; `token` is that of a claimed task."""
    all_of_them: Sequence[ProtobufClientInterceptor] = [
        RuntimeVersionHttpInterceptor(component_name=component),
        *interceptors,
        *([RuntimeTokenHttpInterceptor(token)] if token else []),
    ]
    return client_on(socket, RuntimeHttpClient, all_of_them)


def is_claimed(client: RuntimeHttpClient) -> bool:
    """Sends a heartbeat; returns whether the client's task is still claimed. A server that does not respond says nothing."""
    try:
        return bool(client.SendTaskHeartbeat(SendTaskHeartbeatRequest()).success)
    except httpx.TransportError:
        return True
    except httpx.HTTPStatusError as error:
        return error.response.status_code != httpx.codes.UNAUTHORIZED


@contextlib.contextmanager
def keeping(client: RuntimeHttpClient) -> Iterator[None]:
    """Keeps the claim on the client's task until the block ends.

    Flower's own sender interrupts the process (SIGINT) if the task has ended: that would end a node.
    """
    done = threading.Event()

    def beat() -> None:
        while is_claimed(client) and not done.wait(BEAT_SECONDS):
            pass

    sender = threading.Thread(target=beat, daemon=True)
    sender.start()
    try:
        yield
    finally:
        done.set()
        sender.join()


def patient_claims() -> None:
    """Lets the claims that this process keeps last for `_CLAIM_SECONDS`, and twice that once a task runs."""
    for name in _STORES:
        setattr(importlib.import_module(name), "HEARTBEAT_DEFAULT_INTERVAL", _CLAIM_SECONDS)  # noqa: B010 - no option
