"""A deployment on one machine: up, run, status, down. Processes are ours by a mark in their environment."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from clients.children import MARK, marked
from fedlm.config import RunConfig
from fedlm.errors import CohortError, ConfigError, FedLMError, VaultError
from server.bundle import build_bundle
from server.checkpoint import RunFolder
from server.coordinator import ServerFolder
from server.deployed import DEPLOYED, LOCK, holder, wait_for

_UP_SECONDS, _DOWN_SECONDS = 300.0, 20.0
_LOSSES = 5  # in a row, without a round between: it would be lost for ever
Listener = Callable[[dict[str, Any]], None]
Result = TypeVar("Result")


class Deployment:
    """The folder that `init` made.

    Args:
      path: it.

    Raises:
      ConfigError: it is not one.
    """

    def __init__(self, path: Path) -> None:
        if not (path / "server" / "server.toml").is_file():
            raise ConfigError(f"{path} is not a deployment: make one with fedlm deploy init.")
        self.path = path.resolve()
        self.server = ServerFolder(self.path / "server")
        self.nodes = sorted((self.path / "nodes").glob("*")) if (self.path / "nodes").is_dir() else []

    def up(self) -> int:
        """Starts the coordinator and the nodes, and waits until all are connected; returns how many."""
        if not self._running():
            self._start("server.coordinator", self.path / "server")
            wait_for(self._answers, _UP_SECONDS, f"The SuperLink of {self.path} did not come up")
            for node in self.nodes:  # not before: Flower waits longer after each attempt that fails
                self._start("clients.executor", node)
        keys = sorted((self.path / "server" / "nodes").glob("*.pub"))
        wait_for(lambda: self.online() >= len(keys), _UP_SECONDS, f"Not all {len(keys)} nodes of {self.path} came up")
        return self.online()

    def _start(self, module: str, folder: Path) -> None:
        with (folder / "supervisor.log").open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, MARK: str(self.path)},
            )

    def _running(self) -> list[int]:
        return marked(self.path)

    def _answers(self) -> bool:
        try:
            return self.server.control.nodes() is not None
        except FedLMError:
            return False

    def online(self) -> int:
        """Returns how many admitted nodes are connected; 0 if the SuperLink is not there."""
        try:
            return sum(status == "online" for _, status in self.server.control.nodes().values())
        except FedLMError:
            return 0

    def status(self) -> dict[str, object]:
        """Returns what runs and who is connected."""
        running = self._running()
        statuses: list[str] = []
        if running:
            try:
                statuses = sorted(status for _, status in self.server.control.nodes().values())
            except FedLMError:
                statuses = ["the SuperLink does not answer"]
        runs = sorted(p.name for p in (self.path / "runs").glob("*")) if (self.path / "runs").is_dir() else []
        return {"processes": len(running), "port": self.server.port, "nodes": statuses, "runs": runs}

    def down(self) -> int:
        """Ends every process of this deployment and removes the message store; returns how many there were."""
        count = len(self._running())
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self._running():
                _signal(process, number)
            try:
                wait_for(lambda: not self._running(), _DOWN_SECONDS, "")
                break
            except FedLMError:
                continue
        for store in self.server.path.glob("state.db*"):
            store.unlink()
        for folder in [self.server.path, *self.nodes]:
            shutil.rmtree(folder / "flwr", ignore_errors=True)
            (folder / "flwr").mkdir(mode=0o700)
        return count

    def run(self, out: Path, config: RunConfig, listener: Listener, *, resume: bool = False) -> RunFolder:
        """Trains; submits the app anew, from its checkpoint, whenever the ServerApp or the SuperLink was lost.

        Raises:
          FedLMError: what the ServerApp says (the run's folder stays, and `resume` goes on with it), or nothing is up.
        """
        self.server.control.nodes()  # it is up, and says so if not
        folder = RunFolder.open(out) if resume else RunFolder.create(out, config)
        for name in ("error.json", "model.keras"):
            (out / name).unlink(missing_ok=True)
        nodes = len(list((self.server.path / "nodes").glob("*.pub")))
        folder.write_text(DEPLOYED, json.dumps({"nodes": nodes}))
        bundle, seen, lost = build_bundle(), 0, 0
        while lost < _LOSSES:
            run_id, before = self._submit(bundle, folder), seen
            try:
                seen = self._follow(run_id, folder, seen, listener)
            except (KeyboardInterrupt, SystemExit):
                with contextlib.suppress(FedLMError):
                    self.server.control.stop(run_id)  # else the ServerApp goes on alone
                raise
            if (out / "model.keras").is_file():
                return folder
            if (out / "error.json").is_file():
                raise _error(json.loads((out / "error.json").read_text()))
            lost = 0 if seen > before else lost + 1
        log = self.server.path / "superlink.log"
        raise FedLMError(f"The run was lost {_LOSSES} times without a round between; see {log}, then --resume.")

    def _submit(self, bundle: bytes, folder: RunFolder) -> int:
        return self._patiently(lambda: self.server.control.start(bundle, folder.path.resolve()))

    def _patiently(self, call: Callable[[], Result]) -> Result:
        """Returns what the call returns, once a SuperLink that was killed is back."""
        end = time.monotonic() + _UP_SECONDS
        while True:
            try:
                return call()
            except FedLMError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)

    def _follow(self, run_id: int, folder: RunFolder, seen: int, listener: Listener) -> int:
        """Shows new rounds until the run has ended or its ServerApp was lost; returns how many rounds were shown."""
        worked, end = False, time.monotonic() + _UP_SECONDS
        while True:
            ended = self._ended(run_id)
            holds = holder(folder.path / LOCK) == run_id
            lines = folder.metrics()
            for line in lines[seen:]:
                listener(line)
            seen = max(seen, len(lines))
            if ended:
                return seen
            if not holds and (worked or time.monotonic() > end):  # killed, just done, or never begun
                time.sleep(1.0)
                self._patiently(lambda: self.server.control.stop(run_id))
                return seen
            worked |= holds
            time.sleep(0.3)

    def _ended(self, run_id: int) -> bool:
        return self._patiently(lambda: self.server.control.status(run_id)[0]) == "finished"


def _signal(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def _error(content: dict[str, Any]) -> FedLMError:
    kinds = {kind.exit_code: kind for kind in (ConfigError, VaultError, CohortError)}
    return kinds.get(content["code"], FedLMError)(content["error"])
