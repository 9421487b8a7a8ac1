"""One process at a time trains or rewrites a run; a run goes on over the vault that it was trained on."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from server.run.federation import Federation
from server.run.participation import ParticipationLedger
from server.store.checkpoint import Checkpoint
from server.store.run_folder import LOCK, RunFolder, working_in
from tests.support.running import WORKERS, fedlm
from tests.support.unlearned import seal, settings, train

HOLD = """
import sys
from pathlib import Path
from server.store.run_folder import working_in
with working_in(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(run: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process works in the run's folder."""
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.absolute())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def contents(run: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file() and p.name != LOCK}


@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_a_second_process_is_refused_and_changes_nothing(tmp_path: Path, has_checkpoint: bool) -> None:
    folder = RunFolder.create(tmp_path / "run", RunConfig())
    folder.start_metrics([{"round": 0}, {"round": 1}])
    if has_checkpoint:
        folder.save_checkpoint(Checkpoint(0, (np.zeros(2, np.float32),)))
    before = contents(folder.path)
    commands = [
        ["simulate", "shakespeare", "--out", "run", "--resume", "--set", "rounds=7"],
        ["forget", "HAMLET", "--run", "run"],
    ]
    with held(folder.path) as other:
        for words in commands:
            done = fedlm(*words, cwd=tmp_path)
            says = "Another process is using run" in done.stderr
            assert (done.returncode, says, done.stderr.count("\n")) == (2, True, 1), done.stderr
        assert contents(folder.path) == before
        other.kill()
        other.wait()
        with working_in(folder.path):  # killed, it has let go
            pass


def test_a_new_run_whose_folder_another_process_took_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = RunFolder.create
    with ExitStack() as others:

        def taken(path: Path, config: RunConfig) -> RunFolder:
            folder = create(path, config)
            others.enter_context(held(path))
            return folder

        monkeypatch.setattr(RunFolder, "create", taken)
        done = fedlm("simulate", "shakespeare", "--out", "run", "--set", "scrub=none", cwd=tmp_path)
    assert (done.returncode, "Another process is using" in done.stderr) == (2, True), done.stderr
    assert (tmp_path / "run" / "config.toml").is_file()


def resumed(run: Path, vaults: list[bytes]) -> Any:
    """What `Federation.check_vaults` looks at."""
    return SimpleNamespace(folder=RunFolder.open(run), ledger=ParticipationLedger(run), vaults=vaults)


def test_a_run_goes_on_with_the_vaults_that_its_ledger_names(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", RunConfig())
    Federation.check_vaults(resumed(folder.path, [b"\x01"]))  # from before there was a ledger
    ParticipationLedger(folder.path).start([b"\x01", b"\x02"], init=False)
    Federation.check_vaults(resumed(folder.path, [b"\x02", b"\x01", b"\x02"]))  # nodes share a vault
    for others in ([b"\x01"], [b"\x01", b"\x03"], [b"\x01", b"\x02", b"\x03"]):
        with pytest.raises(ConfigError, match="was trained on another vault"):
            Federation.check_vaults(resumed(folder.path, others))


@pytest.mark.slow
@pytest.mark.flower
def test_a_rotated_vault_is_the_same_and_one_of_the_same_text_is_not(tmp_path: Path) -> None:
    vault, run = seal(tmp_path / "all"), tmp_path / "run"
    train(vault, run, settings(rounds=1), WORKERS)
    before = contents(run)
    with pytest.raises(ConfigError, match="resume it with that vault"):
        train(seal(tmp_path / "other"), run, settings(rounds=2), WORKERS)
    assert contents(run) == before
    assert fedlm("vault", "rotate", vault, cwd=tmp_path).returncode == 0
    train(vault, run, settings(rounds=2), WORKERS)
    assert [e.round for e in ParticipationLedger(run).rounds()] == [1, 2]
