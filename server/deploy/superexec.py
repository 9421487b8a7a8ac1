"""Flower's SuperExec, which starts the ServerApps of a deployment: over the SuperLink's Unix socket, and nothing else.

Flower's own SuperExec also starts agents, models and connectors when a task asks for them, and
forgets a process once it is started. This one keeps the task's claim while the process lives
(`clients/ipc/claims.py`), ends a process whose task has ended, and reports a process that was lost.
"""

import contextlib
import importlib
import re
import threading
from pathlib import Path
from typing import Any

import httpx
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import PushTaskOutputRequest  # pylint: disable=E0611
from flwr.supercore.constant import TaskType
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.superexec.executor.subprocess_executor import SubprocessExecutor
from flwr.supercore.superexec.executor.types import ExecutionSpec, LaunchResult

from clients.ipc.claims import BEAT_SECONDS, is_claimed, runtime_client
from clients.ipc.http import SCHEME, connect_over_sockets
from fedlm.system.memory import forbid_core_dumps
from fedlm.system.processes import (
    Process,
    StillRunning,
    child_environment,
    end,
    how_it_ended,
    module_command,
    rotate_log,
    start,
)

_ERROR = re.compile(
    r"^[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b.*", re.MULTILINE
)  # as Python ends a traceback
_SHOWN = 300  # characters
_LEAVE_SECONDS = 10.0  # for a ServerApp whose task has ended: to end by itself, and after SIGTERM


class ServerAppExecutor(SubprocessExecutor):
    """Starts each ServerApp as a process of ours, and none while another one is being ended."""

    def __init__(self) -> None:
        self._leaving: set[Process] = set()

    def get_eligible_capacity(self, supported_task_types: set[TaskType], **_: Any) -> tuple[set[TaskType], set[str]]:
        """Returns what may be acquired: ServerApps."""
        return set() if self._leaving else supported_task_types & {TaskType.SERVER_APP}, set()

    def launch(self, spec: ExecutionSpec) -> LaunchResult:
        """Starts a ServerApp; the main thread must call this, since the process ends with the thread that starts it."""
        socket = Path(spec.runtime_api_address.removeprefix(SCHEME))
        log = socket.parent / "serverapp.log"
        rotate_log(log)
        before = log.stat().st_size if log.is_file() else 0
        words = ["--insecure", "--runtime-api-address", spec.runtime_api_address, "--token", spec.token]
        words += ["--parent-pid", str(spec.parent_pid)]
        command = module_command("server.deploy.serverapp", *words)
        process = start(command, child_environment(), log=log, dies_with_parent=True)
        client = runtime_client(socket, token=spec.token)
        threading.Thread(target=self._accompany, args=(process, client, log, before), daemon=True).start()
        return LaunchResult.accepted()

    def _accompany(self, process: Process, client: RuntimeHttpClient, log: Path, before: int) -> None:
        """Keeps the claim until the process has ended; ends the process if the claim is gone.

        What it has written to the log follows the first `before` bytes.
        """
        with client:
            while is_claimed(client):
                with contextlib.suppress(StillRunning):
                    process.wait(BEAT_SECONDS)
                    self._report(process, client, last_error(log.read_bytes()[before:]))
                    return
        self._leaving.add(process)
        try:
            with contextlib.suppress(StillRunning):
                process.wait(_LEAVE_SECONDS)
            process.terminate()
            end(process, _LEAVE_SECONDS)
        finally:
            self._leaving.discard(process)

    @staticmethod
    def _report(process: Process, client: RuntimeHttpClient, error: str) -> None:
        """Fails the task of a process that has ended, unless the process has said how its task ended."""
        reason = f"The ServerApp {how_it_ended(process.returncode)}" + (f": {error}" if error else "")
        with contextlib.suppress(httpx.HTTPError, RuntimeError):
            client.PushTaskOutput(PushTaskOutputRequest(sub_status=SubStatus.FAILED, details=reason))


def last_error(output: bytes) -> str:
    """Returns the last line of a process' output that names an exception; "" if there is none.

    >>> last_error(b"Traceback ...\\nImportError: no module x\\nINFO : done\\n")
    'ImportError: no module x'
    """
    found = _ERROR.findall(output.decode("utf-8", "replace"))
    return found[-1].strip()[:_SHOWN] if found else ""


def main() -> None:
    """Runs the SuperExec that the command line describes."""
    forbid_core_dumps()
    connect_over_sockets()
    running = importlib.import_module("flwr.supercore.superexec.run_superexec")
    setattr(running, "get_executor", lambda *_, **__: ServerAppExecutor())  # noqa: B010 - no option for it
    importlib.import_module("flwr.supercore.cli.flower_superexec").flower_superexec()


if __name__ == "__main__":
    main()
