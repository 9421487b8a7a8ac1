"""One client that does not open: the same exit code everywhere, the others' training goes on, no figure leaves it out silently."""

import json
import sqlite3
from pathlib import Path

import pytest

from fedlm import simulate
from fedlm.errors import FailedUpdates
from fedlm.vault.format import DOES_NOT_OPEN
from tests.support.running import fedlm, kept_workers
from tests.support.unlearned import CLIENTS, seal

pytestmark = [pytest.mark.slow, pytest.mark.flower]
SETTINGS = ["rounds=2", "cohort_size=6", "eval_every=2", "model=lstm(units=8, layers=1)", "seq_len=12", "workers=1"]


def damaged(folder: Path, part: str) -> Path:
    vault = seal(folder)
    with sqlite3.connect(vault) as db:
        (row,) = db.execute("SELECT MIN(row_id) FROM shard").fetchone()
        db.execute(f"UPDATE shard SET {part} = substr({part}, 1, length({part}) - 1) WHERE row_id = ?", (row,))
    return vault


def sets(*more: str) -> list[str]:
    return [w for s in (*SETTINGS, *more) for w in ("--set", s)]


def test_held_out_text_that_does_not_open_ends_verify_and_the_run_with_the_same_code(tmp_path: Path) -> None:
    vault = damaged(tmp_path / "v", "held_out")
    verified = fedlm("vault", "verify", vault, cwd=tmp_path)
    assert (verified.returncode, verified.stderr.count("\n")) == (3, 1)
    assert "1 of 6 clients do not open" in verified.stderr
    (pseudonym, name) = verified.stdout.removeprefix("does not open: ").split()
    told = json.loads(fedlm("vault", "verify", vault, "--json", cwd=tmp_path).stdout)
    assert (told["broken"], told["names"]) == ([pseudonym], [name]) and name in CLIENTS
    trained = fedlm("simulate", vault, *sets(), "--out", "run", cwd=tmp_path)
    assert (trained.returncode, trained.stderr.count("\n")) == (3, 1)
    assert trained.stderr == f"fedlm: Evaluation after round 0 failed: {DOES_NOT_OPEN}\n"


def test_training_text_that_does_not_open_is_left_out_and_counted(tmp_path: Path) -> None:
    vault = damaged(tmp_path / "v", "train")
    trained = fedlm("simulate", vault, *sets(), "--out", "run", "--json", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert trained.stderr.startswith(
        "warning: 2 client updates failed and were left out: the text of 2 could not be opened"
    )
    assert json.loads(trained.stdout)["failed_updates"] == 2
    rounds = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [(r["cohort"], r["failed"]) for r in rounds] == [(0, 0), (6, 1), (6, 1)]
    assert "Client updates that failed: 2 (rounds: 2)" in (tmp_path / "run" / "report.html").read_text()
    assert fedlm("vault", "verify", vault, cwd=tmp_path).returncode == 3
    settings = dict(s.split("=", 1) for s in SETTINGS)
    with kept_workers(), pytest.warns(FailedUpdates, match="2 client updates failed and were left out"):
        simulate(vault, out=tmp_path / "again", **settings)
