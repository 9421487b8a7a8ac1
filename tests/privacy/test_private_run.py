"""A private run on real text: killed before and after its noise, with a client that fails, stopped by its budget."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import running

pytestmark = [pytest.mark.slow, pytest.mark.flower]
PRIVATE = [
    "mechanism=gaussian",
    "weighting=uniform",
    "max_client_tokens=1000000",
    "clip_norm=0.5",
    "noise_multiplier=1.0",
    "sampling_rate=0.5",
]
SMALL = ["scrub=none", "max_clients=6", "rounds=3", "cohort_size=3", "eval_every=3", "model=lstm(units=8)"]
KILL = """
import os, signal
from server.store.run_folder import RunFolder
from server.run.release import PrivateRelease
def dies(real, when):
    def step(self, first, *rest, **more):
        if getattr(first, 'round', 0) == when:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, first, *rest, **more)
    return step
where, when = os.environ['DIES'].split()
if where == 'noise':  # charged, and no noise drawn yet
    PrivateRelease.mean = dies(PrivateRelease.mean, int(when))
else:  # noise drawn, and no checkpoint yet
    RunFolder.save_checkpoint = dies(RunFolder.save_checkpoint, int(when))
from fedlm.cli.main import main
main()
"""


def fedlm(cwd: Path, *arguments: object, dies: str = "") -> subprocess.CompletedProcess[str]:
    if not dies:
        return running.fedlm(*arguments, cwd=cwd)
    words, environment = [sys.executable, "-c", KILL, *map(str, arguments)], {**os.environ, "DIES": dies}
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=600, env=environment)


def ledger(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "ledger.json").read_text()))


def break_training_text(vault: Path) -> None:
    """Flips a bit in every client's sealed training text: no node can open it."""
    with sqlite3.connect(vault) as database:
        for row_id, blob in database.execute("SELECT row_id, train FROM shard").fetchall():
            database.execute("UPDATE shard SET train = ? WHERE row_id = ?", [blob[:-1] + bytes([blob[-1] ^ 1]), row_id])


def test_killed_run_is_charged_by_hand_count_shows_nothing_uncovered_and_budget_stops(tmp_path: Path) -> None:
    sets = [w for s in [*SMALL, *PRIVATE] for w in ("--set", s)]
    killed = fedlm(tmp_path, "simulate", "shakespeare", *sets, "--out", "run", dies="checkpoint 2")
    assert killed.returncode == -9, killed.stderr
    run = tmp_path / "run"
    assert [r["round"] for r in ledger(run)["releases"]] == [1, 2]
    killed = fedlm(tmp_path, "simulate", "shakespeare", "--out", "run", "--resume", dies="noise 3")
    assert killed.returncode == -9, killed.stderr
    assert [r["round"] for r in ledger(run)["releases"]] == [1, 2, 2, 3]
    intact = (run / "vault.db").read_bytes()
    break_training_text(run / "vault.db")  # from here on every client fails; the release is charged all the same
    resumed = fedlm(tmp_path, "simulate", "shakespeare", "--out", "run", "--resume")
    (run / "vault.db").write_bytes(intact)
    assert resumed.returncode == 0, resumed.stderr
    assert [r["round"] for r in ledger(run)["releases"]] == [1, 2, 2, 3, 3]
    last = json.loads((run / "private" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["round"] == 3 and last["failed"] == last["cohort"]
    uncovered = ("held-out", "accuracy", "bits per character", "bits/char", "tokens/s", "clients train")
    assert not [w for w in uncovered if w in resumed.stdout + resumed.stderr]
    assert {p.name for p in run.iterdir()} >= {"private", "summary.json"} and not (run / "events").exists()
    assert not ({"final", "seconds", "tokens_per_second"} & set(json.loads((run / "summary.json").read_text())))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["round"] for line in lines] == [0, 1, 2, 3]
    assert all(set(line) == {"round", "epsilon", "covers", "clip_norm"} for line in lines)
    report = (run / "report.html").read_text()
    assert "differential privacy for adding or removing any one client" in report
    assert "held-out accuracy" not in report and "eval" in (run / "private" / "metrics.jsonl").read_text()
    shown = json.loads(fedlm(tmp_path, "privacy", "run", "--json").stdout)
    assert shown["epsilon"] == ledger(run)["epsilon"] == lines[-1]["epsilon"]
    budget = f"epsilon_budget={lines[1]['epsilon'] + 1e-6}"
    stopped = fedlm(tmp_path, "simulate", "run/vault.db", *sets, "--set", budget, "--out", "stopped")
    assert stopped.returncode == 0, stopped.stderr
    assert [r["round"] for r in ledger(tmp_path / "stopped")["releases"]] == [1]
    assert (tmp_path / "stopped" / "private" / "checkpoint" / "latest.safetensors").is_file()
    assert "accuracy" not in stopped.stdout
