"""`fedlm deploy run`: submits a run of a deployment, follows it, and completes its folder at the end."""

import contextlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from clients.contract.approvals import Approvals
from clients.deploy.bundle import build_bundle
from fedlm.config import RunConfig
from fedlm.errors import ConfigError, FedLMError, error_of_code
from fedlm.system.locks import holder, holding, supervisor
from server.deploy.processes import Deployment
from server.deploy.runs import remember_run
from server.run.settled import resumed_config
from server.run.strategies import accepts_mean, build_strategy
from server.run.summary import write_summary
from server.store.run_folder import DEPLOYED, FOLLOWED, LOCK, WAITING, RunFolder

_START_SECONDS, _LONGEST_SECONDS, _SLOWER = (
    300.0,
    1800.0,
    4,
)  # for a ServerApp to begin; the first one's time is learned
_LOSSES = 5  # in a row, without a finished round in between: another attempt would be lost, too
_PATIENCE_SECONDS = 300.0  # with a SuperLink that its coordinator restarts
_GONE_SECONDS = 60.0  # with a coordinator that is gone
_LOOK_SECONDS = 5.0
Listener = Callable[[dict[str, Any]], None]
Result = TypeVar("Result")


def train(
    folder: Path,
    out: Path,
    overrides: Sequence[str],
    listener: Listener,
    say: Callable[[str], object],
    *,
    resume: bool,
) -> dict[str, Any]:
    """Trains over the connected nodes; returns the content of summary.json.

    Args:
      folder: of the deployment.
      out: the run's folder.
      overrides: of the settings in config.toml.
      listener: gets each round's line of metrics.jsonl.
      say: gets a sentence when the run waits for something.
      resume: continue the run in `out`; if its ServerApp is still running, follow that one.

    Raises:
      FedLMError: the ServerApp failed (the run's folder is kept, and `resume` continues it), or no
        coordinator responds.
    """
    deployment = Deployment(folder)
    config = resumed_config(out, overrides) if resume else _config(folder, overrides)
    config.privacy.check(accepts_mean=accepts_mean(build_strategy(config.strategy)))  # before anything is made
    started = time.monotonic()
    if not deployment.server.admits():
        raise ConfigError(f"No node is admitted to {folder}: fedlm deploy add {folder} PUBKEY.")
    deployment.server.control.nodes()  # raises if the SuperLink does not answer
    run = RunFolder.open(out) if resume else RunFolder.create(out, config)
    problem = (
        f"Process {holder(out / FOLLOWED)} already trains {out}; fedlm deploy status {folder} shows how far it is."
    )
    with holding(out / FOLLOWED, os.getpid(), problem):
        if resume and overrides and holder(out / LOCK) is not None:
            raise ConfigError(f"The ServerApp of {out} is still running: use --resume without --set to follow it.")
        run.write_text("config.toml", config.to_toml())
        remember_run(deployment.server.path, out)
        FollowedRun(deployment, run, listener, say).until_done()
    about = {"corpus": "a deployment", "deployment": True}  # how the owners prepared their text is unknown here
    weights = run.final_weights()
    os.environ.setdefault(
        "MPLCONFIGDIR", str(deployment.server.path / "flwr")
    )  # otherwise Matplotlib's font list goes to HOME
    return write_summary(run, run.config, weights, about, time.monotonic() - started, samples=False)


def _config(folder: Path, overrides: Sequence[str]) -> RunConfig:
    file = folder / "config.toml"
    try:
        return RunConfig.load(file if file.is_file() else None, overrides)
    except ConfigError as error:
        raise ConfigError(f"{str(error).rstrip('.')} (set in {file} or by --set).") from None


class FollowedRun:
    """A run that is submitted again, from its checkpoint, whenever the ServerApp or the SuperLink was lost.

    Args:
      deployment: its coordinator runs.
      folder: of the run.
      listener: gets each round's line.
      say: gets a sentence when the run waits for something.
    """

    def __init__(
        self, deployment: Deployment, folder: RunFolder, listener: Listener, say: Callable[[str], object]
    ) -> None:
        self._deployment, self._control = deployment, deployment.server.control
        self._folder, self._listener, self._say = folder, listener, say
        self._shown, self._said, self._look_at = 0, "", 0.0
        self._start_seconds, self._ended = _START_SECONDS, ""
        deployed = folder.path / DEPLOYED
        self._run = json.loads(deployed.read_text())["run"] if deployed.is_file() else secrets.token_hex(16)
        self._names = deployment.server.admits()  # who takes part: the population of a run is fixed at its start

    def until_done(self) -> None:
        """Returns once the model is in the run's folder."""
        out, lost, bundle = self._folder.path, 0, build_bundle()
        running = holder(out / LOCK)
        while lost < _LOSSES:
            run_id, before = running or self._submit(bundle), self._shown
            running = None
            try:
                self._follow(run_id)
            except (KeyboardInterrupt, SystemExit):
                with contextlib.suppress(FedLMError):
                    self._control.stop(run_id)  # otherwise the ServerApp would keep running
                raise
            if (out / "model.keras").is_file():
                return
            if (out / "error.json").is_file():
                content = json.loads((out / "error.json").read_text())
                raise error_of_code(content["code"], content["error"])
            lost = 0 if self._shown > before else lost + 1
            if lost < _LOSSES:
                self._tell(f"{self._ended or 'the ServerApp was lost'}; trying again ({lost + 1} of {_LOSSES})")
        log = self._deployment.server.path / "serverapp.log"
        why = f" ({self._ended.rstrip('.')})" if self._ended else ""
        raise FedLMError(
            f"The run was lost {_LOSSES} times without finishing a round{why}; see {log}, then use --resume."
        )

    def _submit(self, bundle: bytes) -> int:
        out = self._folder.path
        for name in ("error.json", "model.keras"):
            (out / name).unlink(missing_ok=True)
        self._tell("submitting the run to the SuperLink")
        server = self._deployment.server
        about = {"run": self._run, "nodes": len(server.admits()), "coordinator": str(server.path)}
        self._folder.write_text(DEPLOYED, json.dumps(about))
        self._folder.write_text(WAITING, "")
        return self._patiently(lambda: self._control.start(bundle, out.resolve()))

    def _patiently(self, call: Callable[[], Result]) -> Result:
        """Returns what the call returns, as soon as a SuperLink that was killed answers again."""
        begun = time.monotonic()
        while True:
            try:
                return call()
            except FedLMError as error:
                gone = supervisor(self._deployment.server.path) is None
                if time.monotonic() > begun + (_GONE_SECONDS if gone else _PATIENCE_SECONDS):
                    raise FedLMError(f"{str(error).rstrip('.')}, then continue with --resume.") from None
                self._tell("the coordinator was stopped" if gone else "the SuperLink does not respond")
                time.sleep(0.5)

    def _follow(self, run_id: int) -> None:
        """Reports new rounds until the run has finished or its ServerApp was lost."""
        worked, begun, self._ended = False, time.monotonic(), ""
        while True:
            status, details = self._patiently(lambda: self._control.status(run_id))
            holds = holder(self._folder.path / LOCK) == run_id
            lines = self._folder.metrics()
            for line in lines[self._shown :]:
                self._listener(line)
            self._shown = max(self._shown, len(lines))
            if status == "finished":
                self._ended = _reason(details)
                return
            took = time.monotonic() - begun
            if not holds and (worked or took > self._start_seconds):  # killed, just finished, or never begun
                if not worked:
                    self._ended = f"the ServerApp did not begin within {took:.0f} s and was ended"
                    self._start_seconds = min(2 * self._start_seconds, _LONGEST_SECONDS)
                time.sleep(1.0)
                self._patiently(lambda: self._control.stop(run_id))
                return
            if holds and not worked:
                self._start_seconds = max(self._start_seconds, _SLOWER * took)
                self._tell("the ServerApp has contacted the nodes; they load and compile the model")
            worked |= holds
            self._accept_own()
            self._look_for_nodes()
            time.sleep(0.3)

    def _accept_own(self) -> None:
        """Accepts the run at the nodes of the deployment's own folder, and tells which other owners are waited for."""
        for node in self._deployment.nodes:
            approvals = Approvals(node / "runs")
            for manifest in approvals.waiting():
                if manifest.run == self._run:
                    approvals.accept(manifest)
        waiting, elsewhere = self._folder.path / WAITING, len(self._names) > len(self._deployment.nodes)
        if elsewhere and waiting.is_file() and (sentence := waiting.read_text()):
            self._tell(sentence)

    def _look_for_nodes(self) -> None:
        """Reports which nodes are not connected, whenever that changes."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_SECONDS
        known = {node.key: node.status for node in self._deployment.admitted()}
        if not known:
            return  # the SuperLink does not answer, which `_patiently` reports
        away = [name for key, name in self._names.items() if known.get(key, "online") != "online"]
        expelled = [f"{name} (expelled)" for key, name in self._names.items() if key not in known]
        if away or expelled:
            patience = f"left out of a round after {self._folder.config.timeout:.0f} s (timeout)"
            self._tell(f"not connected: {', '.join([*away, *expelled])}; {patience}")
        elif self._said.startswith("not connected"):
            self._tell("all nodes are connected")

    def _tell(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            self._say(sentence)


def _reason(details: str) -> str:
    """Returns why Flower ended a run, if the process that started the ServerApp has said so."""
    found = re.search(r"The ServerApp (.+)", details)
    return f"the ServerApp {found[1]}" if found else ""
