"""Killed by SIGKILL while a client is being forgotten: the same command, or `--resume`, ends in the bits of a run without it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.run.participation import ParticipationLedger
from server.store.forgotten import Forgotten
from server.store.run_folder import RunFolder
from server.unlearning import delete, plan
from tests.server.test_unlearning import first_rounds, names, pretended
from tests.support import running
from tests.support.unlearned import CLIENTS, seal, settings
from tests.vault.test_crash import run_and_kill

ROOT = Path(__file__).parents[2]
SETTINGS = ["scrub=none", "model=lstm(units=8, layers=1)", "seq_len=12", "rounds=24", "cohort_size=2", "workers=1"]
SETTINGS += ["keep_every=1", "eval_every=24", "client_optimizer=sgd(learning_rate=0.5)", "strategy=FedAdam"]


def contents(run: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_old_files_deleted_in_parts_are_deleted_whole_the_next_time(tmp_path: Path) -> None:
    """Killed before and after every rename, unlink and overwrite of the deletion, in a process of its own."""
    vault = seal(tmp_path / "all")
    source, (client, name) = KeySource(vault.with_name("v.db.key")), next(iter(names(vault).items()))
    start = pretended(tmp_path / "start", vault, settings(rounds=6, keep_every=2), [3, 5], client, [0, 2, 4])
    for file in ("model.keras", "sample.txt", "summary.json", "report.html"):
        (start / file).write_text("depends on the client")
    (start / "events").mkdir()
    (start / "events" / "tfevents").write_text("depends on the client")
    run = RunFolder.open(start)
    run.start_metrics([{"round": r, "cohort": 1, "failed": 0, "tokens": 9, "train_loss": 1.0} for r in range(7)])
    cost = plan(start, vault, source, name)
    assert (cost.restart, cost.rounds) == (2, 4)
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(start, undisturbed)
    every = run_and_kill(0, lambda: delete(undisturbed, cost))
    expected = contents(undisturbed)
    assert not any(b"depends on the client" in content for content in expected.values()) and every > 20
    for stop in range(1, every + 1):
        folder = tmp_path / f"{stop}"
        shutil.copytree(start, folder)
        assert run_and_kill(stop, lambda folder=folder: delete(folder, cost)) == -signal.SIGKILL  # type: ignore[misc]
        begun, pending = (folder / "forgotten.json").exists(), Forgotten.read(folder).pending
        assert (
            begun or contents(folder).items() >= contents(start).items()
        )  # nothing was deleted before it was written down
        if begun and pending < 0:  # all was done, and only the command's end is missing
            assert plan(folder, vault, source, name).rounds == 4
        delete(folder, plan(folder, vault, source, name))
        assert contents(folder) == expected, stop
        shutil.rmtree(folder)


def sets() -> list[str]:
    return [w for s in SETTINGS for w in ("--set", s)]


def fedlm(*words: object) -> Any:
    done = running.fedlm(*words, "--json", cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def kill_while_it_trains(run: Path, vault: Path, name: str, after: int) -> None:
    """Starts `fedlm forget` and kills it a few rounds after `after`."""
    words = [sys.executable, "-m", "fedlm", "forget", name, "--run", str(run), "--vault", str(vault)]
    process = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    log, end = run / "metrics.jsonl", time.monotonic() + 300
    while process.poll() is None and time.monotonic() < end:
        gone_back = not (run / "summary.json").exists() and Forgotten.read(run).pending < 0
        if gone_back and (run / "forgotten.json").exists() and log.read_bytes().count(b"\n") > after + 3:
            break
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (run / "summary.json").exists() and RunFolder(run).load_checkpoint().round < 24


@pytest.mark.slow
@pytest.mark.flower
def test_killed_while_it_trains_again_it_ends_in_the_bits_of_a_run_without_the_client(tmp_path: Path) -> None:
    vault, run = seal(tmp_path / "all"), tmp_path / "run"
    who, seed = names(vault), ("--set", "seed=1")
    before = fedlm("simulate", vault, "--out", run, *sets(), *seed)
    first = first_rounds(run, list(who))
    client = max(first, key=lambda c: (first[c], c))
    assert first[client] > 1
    kill_while_it_trains(run, vault, who[client], first[client])
    shutil.copytree(run, tmp_path / "copy")
    again = fedlm("forget", who[client], "--run", run, "--vault", vault)
    resumed = fedlm("simulate", vault, "--out", tmp_path / "copy", "--resume")
    rest = seal(tmp_path / "rest", [c for c in CLIENTS if c != who[client]])
    never = fedlm("simulate", rest, "--out", tmp_path / "never", *sets(), *seed)
    hashes = {told["weights_sha256"] for told in (again, resumed, never)}
    assert len(hashes) == 1 and before["weights_sha256"] not in hashes
    ledgers = [ParticipationLedger(f).rounds() for f in (run, tmp_path / "copy", tmp_path / "never")]
    assert ledgers[0] == ledgers[1] == ledgers[2]
    opened = Vault(vault, KeySource(vault.with_name("v.db.key")))
    assert client in set(map(int, opened.pseudonyms))  # the vault still holds it: the run leaves it out by itself
    opened.close()
