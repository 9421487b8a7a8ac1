"""The processes of a deployment on one machine: up, status, down. A mark in their environment identifies them."""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from clients.deploy.folder import NodeFolder
from clients.deploy.keys import load_public_key
from fedlm.errors import ConfigError, FedLMError, error_of_code
from fedlm.system.locks import supervisor
from fedlm.system.processes import MARK, Process, child_environment, last_line, marked, module_command, start
from server.deploy.control import Admitted
from server.deploy.folder import ServerFolder
from server.deploy.runs import known_runs

_UP_SECONDS, _DOWN_SECONDS = 300.0, 20.0
_SLOWER = 20  # nodes may take this many times as long as the SuperLink, which starts first


class Deployment:
    """A deployment, as seen from the machine of its coordinator.

    Args:
      path: the folder that `init` or `server` made.

    Raises:
      ConfigError: it is not one.
    """

    def __init__(self, path: Path) -> None:
        self.server = ServerFolder(path / "server")
        self.path = path.resolve()
        self.nodes = sorted((self.path / "nodes").glob("*")) if (self.path / "nodes").is_dir() else []

    def up(self, say: Callable[[str], object]) -> list[str]:
        """Starts all processes that are not running, and waits until the nodes of this folder are connected.

        Args:
          say: gets a sentence when something is started, and what a started process says.

        Returns:
          The names of admitted nodes that are not connected: nodes of other machines, which cannot
          be started here.

        Raises:
          FedLMError: a process stopped (with its last line of output), or a node did not connect in time.
        """
        local = {load_public_key(node / "node.key.pub"): node for node in self.nodes if NodeFolder(node)}
        for key, node in local.items():
            if key not in self.server.admits():
                raise ConfigError(f"{node} is not admitted: fedlm deploy add {self.path} {node / 'node.key.pub'}.")
        started: dict[Path, Process] = {}
        if supervisor(self.server.path) is None:
            say("starting the SuperLink")
            started[self.server.path] = self._start("server.deploy.coordinator", self.server.path)
        begun = time.monotonic()
        _wait(self._answers, started, f"The SuperLink of {self.path} did not start", 3 * _UP_SECONDS, say)
        patience = max(_UP_SECONDS, _SLOWER * (time.monotonic() - begun))  # a slow machine is slow for nodes, too
        before = {node.key: node.since for node in self.admitted()}
        for node in self.nodes:  # only now: a SuperNode waits longer after each attempt that fails
            if supervisor(node) is None:
                say(f"starting node {node.name}")
                started[node] = self._start("clients.deploy.supervisor", node)

        def connected() -> bool:  # the SuperLink takes a killed node for online for a while: compare since when
            online = {node.key: node.since for node in self.admitted() if node.status == "online"}
            return all(
                key in online and (n not in started or online[key] != before.get(key)) for key, n in local.items()
            )

        _wait(connected, started, f"Not all nodes of {self.path} connected", patience, say)
        return [n["name"] for n in self.members() if n["status"] != "online"]

    def _start(self, module: str, folder: Path) -> Process:
        environment = child_environment({MARK: str(self.path)})  # its own children inherit the mark
        return start(module_command(module, folder), environment, log=folder / "supervisor.log")

    def _answers(self) -> bool:
        try:
            return self.server.control.nodes() is not None
        except FedLMError:
            return False

    def admitted(self) -> list[Admitted]:
        """Returns the nodes that the SuperLink knows; none if it does not answer."""
        try:
            return self.server.control.nodes()
        except FedLMError:
            return []

    def members(self) -> list[dict[str, str]]:
        """Returns each node's name, status (online, offline, registered, stopped, unknown) and since when it is online."""
        known, names = {node.key: node for node in self.admitted()}, self.server.admits()
        local = {load_public_key(node / "node.key.pub"): node for node in self.nodes}
        rows = []
        for key in {**names, **known}:
            node = known.get(key)
            status = node.status if node else "unknown"
            if key in local and supervisor(local[key]) is None:
                status = "stopped"  # the SuperLink notices later
            rows.append({"name": names.get(key, "?"), "status": status, "since": node.since if node else ""})
        return rows

    def status(self) -> dict[str, object]:
        """Returns which processes run, which nodes are connected, and how far the runs are."""
        process = supervisor(self.server.path)
        coordinator = "stopped" if process is None else "running" if self._answers() else "starting"
        return {
            "coordinator": coordinator,
            "process": process,
            "port": self.server.port,
            "processes": len(marked(self.path)),
            "nodes": self.members(),
            "runs": known_runs(self.server.path),
        }

    def down(self) -> int:
        """Stops every process that `up` started and removes the message store; returns the number of processes.

        Raises:
          ConfigError: a process that `up` did not start serves a folder of the deployment; nothing
            was stopped.
        """
        ours = marked(self.path)
        for folder in [self.server.path, *self.nodes]:
            process = supervisor(folder)
            if process is not None and process not in ours:
                raise ConfigError(
                    f"{folder} is served by process {process}, which deploy up did not start: stop it where it was "
                    "started (Ctrl-C, or systemctl stop). Nothing was stopped here."
                )
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in marked(self.path):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
            with contextlib.suppress(FedLMError):
                _wait(lambda: not marked(self.path), {}, "", _DOWN_SECONDS)
                break
        for store in self.server.path.glob("state.db*"):
            store.unlink()
        for folder in [self.server.path, *self.nodes]:
            shutil.rmtree(folder / "flwr", ignore_errors=True)
            (folder / "flwr").mkdir(mode=0o700)
        return len(ours)


def _wait(
    condition: Callable[[], bool],
    started: Mapping[Path, Process],
    problem: str,
    seconds: float = _UP_SECONDS,
    say: Callable[[str], object] = lambda sentence: None,
) -> None:
    """Waits until the condition holds.

    Raises:
      FedLMError: a started process has stopped (with its last line of output), or the condition does
        not hold after `seconds`.
    """
    end, said = time.monotonic() + seconds, {folder: _last_words(folder) for folder in started}
    while not condition():
        for folder, process in started.items():
            if process.poll() is not None:
                raise error_of_code(process.returncode, f"{folder} did not start: {_last_words(folder)}")
            if (word := _last_words(folder)) != said[folder]:
                said[folder] = word
                say(f"{folder.name}: {word}")
        if time.monotonic() > end:
            words = "".join(f" {folder.name}: {word}" for folder, word in said.items() if word)
            raise FedLMError(f"{problem} in {seconds:.0f} s; see fedlm deploy status and the logs.{words}")
        time.sleep(0.1)


def _last_words(folder: Path) -> str:
    log = folder / "supervisor.log"
    return last_line(log.read_text("utf-8", "replace")) if log.is_file() else ""
