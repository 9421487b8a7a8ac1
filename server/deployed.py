"""What the ServerApp of a deployment, `fedlm deploy run` and `status` agree on: names in the run's folder, and its state."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from flwr.serverapp import Grid

from clients.lock import holder, holding, supervisor
from fedlm.errors import ConfigError, FedLMError
from server.run_folder import RunFolder

DEPLOYED, LOCK, FOLLOWED = "deployed.json", ".lock", ".followed"
LOCK_SECONDS = 60.0  # in which a ServerApp that lost its SuperLink ends
_RUNS = "runs.txt"


@contextlib.contextmanager
def working_in(run: Path) -> Iterator[None]:
    """Makes this process the only one that trains or rewrites a run; two would write its metrics and ledgers by turns.

    Raises:
      ConfigError: another process works in the folder.
    """
    problem = f"Another process works in {run}: wait until it has ended, or end it first; nothing was changed."
    with holding(run / LOCK, os.getpid(), problem, kind=ConfigError):
        yield


def wait_for_nodes(grid: Grid, count: int, seconds: float) -> None:
    """Returns once `count` nodes are connected.

    Raises:
      FedLMError: fewer are there after `seconds`.
    """
    end = time.monotonic() + seconds
    while len(list(grid.get_node_ids())) < count:
        if time.monotonic() > end:
            raise FedLMError(f"Not all {count} nodes are connected in {seconds:.0f} s; see fedlm deploy status.")
        time.sleep(0.1)


def remember_run(server: Path, out: Path) -> None:
    """Notes a run's folder, wherever it is, in the coordinator's."""
    with (server / _RUNS).open("a") as file:
        file.write(f"{out.resolve()}\n")


def known_runs(server: Path) -> list[dict[str, object]]:
    """Returns folder, state (done, running, starting, failed, stopped), rounds done and rounds asked for of each run that is left."""
    noted = (server / _RUNS).read_text().splitlines() if (server / _RUNS).is_file() else []
    folders = [Path(name) for name in dict.fromkeys(noted)]
    is_up = supervisor(server) is not None
    return [_state(folder, is_up) for folder in folders if (folder / DEPLOYED).is_file()]


def _state(path: Path, is_up: bool) -> dict[str, object]:
    folder = RunFolder.open(path)
    if (path / "model.keras").is_file():
        state = "done"
    elif holder(path / LOCK) is not None:
        state = "running" if is_up else "stopped with the coordinator"
    elif holder(path / FOLLOWED) is not None:
        state = "starting"
    elif (path / "error.json").is_file():
        state = f"failed: {json.loads((path / 'error.json').read_text())['error']}"
    else:
        state = "stopped"
    done = max((int(line["round"]) for line in folder.metrics()), default=0)
    return {"folder": str(path), "state": state, "round": done, "rounds": folder.config.rounds}
