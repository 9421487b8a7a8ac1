"""What a terminal learns of a lost worker: a sentence, and nothing under differential privacy."""

from pathlib import Path
from typing import Any, NoReturn

import pytest

from fedlm.config import RunConfig
from fedlm.vault.keys import KeySource
from server import simulation
from server.engines import local
from server.engines.base import Tell
from server.engines.workers import Idle, WorkerCommand
from server.store.run_folder import RunFolder

pytestmark = pytest.mark.flower
START = "starting 2 workers (local)"
PRIVATE = {
    "mechanism": "gaussian",
    "weighting": "uniform",
    "max_client_tokens": 10**6,
    "clip_norm": 0.5,
    "noise_multiplier": 1.0,
    "sampling_rate": 0.5,
}


@pytest.mark.parametrize(("settings", "told"), [({}, [START, "lost"]), (PRIVATE, [START])])
def test_a_lost_worker_is_told_unless_the_run_is_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], told: list[str]
) -> None:
    said: list[str] = []

    def lose(command: WorkerCommand, workers: int, idle: Idle | None, tell: Tell) -> NoReturn:
        tell("lost")
        raise InterruptedError

    monkeypatch.setattr(local, "LocalEngine", lose)
    config, source = RunConfig.checked(settings), KeySource(tmp_path / "k")
    run = simulation.Simulation(
        "shakespeare", tmp_path / "run", None, [], False, None, False, lambda _: source, lambda *_: None, said.append
    )
    with pytest.raises(InterruptedError):
        asked = simulation._Asked(config, tmp_path / "v.db", None)
        run._train(RunFolder.create(tmp_path / "run", config), asked, WorkerCommand(tmp_path / "v.db"))
    assert said == told
