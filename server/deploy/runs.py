"""The runs of a deployment: which there are, and the state of each, read from the files and locks of its folder."""

import json
from pathlib import Path

from fedlm.system.locks import holder, supervisor
from server.store.run_folder import DEPLOYED, FOLLOWED, LOCK, RunFolder, trust_plugins

_RUNS = "runs.txt"


def remember_run(server: Path, out: Path) -> None:
    """Adds a run's folder, wherever it is, to the list in the coordinator's folder."""
    with (server / _RUNS).open("a") as file:
        file.write(f"{out.resolve()}\n")


def known_runs(server: Path) -> list[dict[str, object]]:
    """Returns folder, state (done, running, starting, failed, stopped), rounds done and rounds configured of each run.

    A run whose folder was removed is left out.
    """
    noted = (server / _RUNS).read_text().splitlines() if (server / _RUNS).is_file() else []
    folders = [Path(name) for name in dict.fromkeys(noted)]
    is_up = supervisor(server) is not None
    return [_state(folder, is_up) for folder in folders if (folder / DEPLOYED).is_file()]


def _state(path: Path, is_up: bool) -> dict[str, object]:
    trust_plugins(path)  # this deployment has run it
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
