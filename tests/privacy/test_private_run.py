"""A private run on real text, killed between noise and checkpoint, and stopped by its budget."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.flower]
PRIVATE = ["mechanism=gaussian", "weighting=uniform", "clip_norm=0.5", "noise_multiplier=1.0", "sampling_rate=0.5"]
SMALL = ["scrub=none", "max_clients=6", "rounds=3", "cohort_size=3", "eval_every=3", "model=lstm(units=8)"]
KILL = """
import os, signal
from server.checkpoint import RunFolder
real = RunFolder.save_checkpoint
def save(folder, checkpoint, *, keep):
    if checkpoint.round == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    real(folder, checkpoint, keep=keep)
RunFolder.save_checkpoint = save
from fedlm.cli import main
main()
"""


def fedlm(cwd: Path, *arguments: object, code: str = "") -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-c", code] if code else [sys.executable, "-m", "fedlm"]
    return subprocess.run([*start, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=300)


def ledger(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "ledger.json").read_text()))


def test_killed_between_noise_and_checkpoint_is_charged_twice_and_budget_stops(tmp_path: Path) -> None:
    sets = [w for s in [*SMALL, *PRIVATE] for w in ("--set", s)]
    killed = fedlm(tmp_path, "simulate", "shakespeare", *sets, "--out", "run", code=KILL)
    assert killed.returncode == -9, killed.stderr
    run = tmp_path / "run"
    assert [r["round"] for r in ledger(run)["releases"]] == [1, 2]
    resumed = fedlm(tmp_path, "simulate", "shakespeare", "--out", "run", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert [r["round"] for r in ledger(run)["releases"]] == [1, 2, 2, 3]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["round"] for line in lines] == [0, 1, 2, 3]
    assert all(set(line) == {"round", "epsilon", "clip_norm"} for line in lines)
    report = (run / "report.html").read_text()
    assert "differential privacy for adding or removing any one client" in report
    assert "held-out accuracy" not in report and "eval" in (run / "private" / "metrics.jsonl").read_text()
    shown = json.loads(fedlm(tmp_path, "privacy", "run", "--json").stdout)
    assert shown["epsilon"] == ledger(run)["epsilon"] == lines[-1]["epsilon"]
    budget = f"epsilon_budget={lines[1]['epsilon'] + 1e-6}"
    stopped = fedlm(tmp_path, "simulate", "run/vault.db", *sets, "--set", budget, "--out", "stopped")
    assert stopped.returncode == 0, stopped.stderr
    assert [r["round"] for r in ledger(tmp_path / "stopped")["releases"]] == [1]
    assert (tmp_path / "stopped" / "checkpoint" / "latest.safetensors").is_file()
