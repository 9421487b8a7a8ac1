"""The main job on real text, small: the same seed gives the same bits however the work is split."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fedlm.data.corpus import open_corpus
from tests.support.running import SMALL, fedlm, simulate

pytestmark = [pytest.mark.slow, pytest.mark.flower]


def test_same_bits_with_one_worker_two_and_after_resume(tmp_path: Path) -> None:
    one = simulate("one", tmp_path, "--workers", 1)
    two = simulate("two", tmp_path, "--workers", 2)
    assert one["weights_sha256"] == two["weights_sha256"]
    assert one["final"] == two["final"] and one["final"]["tokens"] > 0
    half = tmp_path / "half"
    simulate("half", tmp_path, settings=[*SMALL, "rounds=1"])
    done = fedlm("simulate", "shakespeare", "--out", "half", "--resume", "--set", "rounds=2", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["weights_sha256"] == one["weights_sha256"]
    assert "held-out" in (half / "report.html").read_text().lower()
    assert (half.stat().st_mode & 0o777) == 0o700


def start(cwd: Path, *arguments: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "fedlm", *map(str, arguments)]
    return subprocess.Popen(words, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.02)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(c) for c in children if b"clients.worker" in Path(f"/proc/{c}/cmdline").read_bytes()]


LONGER = [*SMALL, "rounds=8", "strategy=FedAdam(eta=0.01)", "client_optimizer=sgd(learning_rate=0.5)", "keep_every=2"]


def test_killed_server_and_killed_worker_lose_nothing(tmp_path: Path) -> None:
    undisturbed = simulate("whole", tmp_path, settings=LONGER)
    sets = [w for s in LONGER for w in ("--set", s)]
    killed = start(tmp_path, "simulate", "whole/vault.db", *sets, "--out", "killed")
    log = tmp_path / "killed" / "metrics.jsonl"
    wait_for(lambda: log.is_file() and log.read_text().count("\n") > 3, killed)
    left = workers_of(killed)
    killed.kill()
    killed.wait()
    with log.open("a") as file:
        file.write('{"round": 99, "torn')  # what a kill in the middle of a line leaves
    resumed = start(tmp_path, "simulate", "whole/vault.db", "--out", "killed", "--resume")
    before = log.read_text().count("\n")
    wait_for(lambda: log.read_text().count("\n") > before, resumed)
    os.kill(workers_of(resumed)[0], signal.SIGKILL)
    assert resumed.wait() == 0
    assert resumed.stderr is not None and resumed.stderr.read() == ""  # TensorFlow's start-up lines included
    summary = json.loads((tmp_path / "killed" / "summary.json").read_text())
    assert summary["weights_sha256"] == undisturbed["weights_sha256"]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["round"] for line in lines] == list(range(9))
    assert sum(line["failed"] for line in lines) == 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in left)


def test_resume_keeps_the_configuration_and_init_starts_from_other_weights(tmp_path: Path) -> None:
    first = simulate("first", tmp_path)
    done = fedlm("simulate", "shakespeare", "--out", "first", "--resume", "--set", "batch_size=9", cwd=tmp_path)
    assert (done.returncode, "batch_size cannot change" in done.stderr) == (2, True)
    more = fedlm("simulate", "shakespeare", "--out", "first", "--resume", "--set", "rounds=3", "--json", cwd=tmp_path)
    assert json.loads(more.stdout)["config"]["rounds"] == 3
    other = simulate("other", tmp_path, "--init", "first")
    assert other["weights_sha256"] != first["weights_sha256"]
    lines = [json.loads(line) for line in (tmp_path / "other" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["eval"]["loss"] < 4.5  # it begins where the first run ended, below log(128) = 4.85


def test_prepare_ended_leaves_nothing_and_killed_no_vault_and_starts_over(tmp_path: Path) -> None:
    ended = start(tmp_path, "prepare", "shakespeare", "v.db", "--scrub", "patterns")
    wait_for((tmp_path / "v.db.partial").exists, ended)
    ended.terminate()
    said = ended.communicate()[1]
    assert (ended.returncode, list(tmp_path.iterdir())) == (128 + signal.SIGTERM, [])
    assert "fedlm: terminated by SIGTERM.\n" in said, said
    killed = start(tmp_path, "prepare", "shakespeare", "v.db", "--scrub", "patterns")
    wait_for((tmp_path / "v.db.partial").exists, killed)
    time.sleep(0.3)
    killed.kill()
    killed.wait()
    assert not (tmp_path / "v.db").exists()
    assert b"Hamlet" not in (tmp_path / "v.db.spool").read_bytes()
    again = fedlm("prepare", "shakespeare", "v.db", "--scrub", "none", "--max-clients", 5, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"v.db", "v.db.key"}
    assert fedlm("vault", "verify", "v.db", cwd=tmp_path).stdout == "all 5 clients open\n"


def test_jsonl_copy_and_a_vault_of_its_own_give_the_same_bits(tmp_path: Path) -> None:
    first = simulate("first", tmp_path)
    with (tmp_path / "copy.jsonl").open("w") as file:
        for document in open_corpus("shakespeare"):
            file.write(json.dumps({"user": document.user, "text": document.text}) + "\n")
    options = ["--scrub", "patterns", "--max-clients", 6, "--pseudonym-key", "seed"]
    assert fedlm("prepare", "copy.jsonl", "v.db", *options, cwd=tmp_path).returncode == 0
    settings = [s for s in SMALL if not s.startswith(("scrub", "max_clients"))]  # settled with the vault
    second = simulate("second", tmp_path, corpus="v.db", settings=settings)
    assert second["weights_sha256"] == first["weights_sha256"]
    assert (second["config"]["scrub"], second["config"]["max_clients"]) == ("patterns", 6)
    assert "fedlm simulate v.db --config config.toml" in (tmp_path / "second" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["simulate", "missing.jsonl"], 3, "There is no file missing.jsonl"),
        (["simulate", "empty.jsonl"], 3, "is empty"),
        (["simulate", "bad.jsonl"], 3, "Line 2 of bad.jsonl"),
        (["simulate", "nouser.jsonl"], 3, "'user'"),
        (["simulate", "one.jsonl"], 3, "one client only"),
        (["simulate", "shakespeare", "--set", "roundz=3"], 2, "roundz"),
        (["simulate", "shakespeare", "--out", "."], 2, "exists already"),
        (["simulate", "shakespeare", "--out", "empty.jsonl", "--resume"], 3, "is not a run's folder"),
        (["simulate", "shakespeare", "--set", "model=lstm(unitz=4)"], 2, "its options are: units, layers, embedding"),
        (["simulate", "shakespeare", "--set", "model=gpt5"], 2, "There is no model"),
        (["simulate", "shakespeare", "--set", "strategy=Foo"], 2, "the import path"),
        (["simulate", "shakespeare", "--set", "rounds=-1"], 2, "Invalid value for rounds"),
        (["simulate", "shakespeare", "--set", "max_clients=2", "--set", "model=lstm(units=0)"], 2, "units=0"),
        (["simulate", "shakespeare", "--init", "."], 3, "is not a run's folder"),
        (["simulate", "blank.jsonl"], 3, "Left out: 2 without any text"),
        (["prepare", "one.jsonl", "empty.jsonl"], 2, "exists already"),
        (["report", "."], 3, "is not the folder of a finished run"),
        (["generate", "."], 3, "is not a run's folder"),
        (["scrub", "bad.jsonl", "out.jsonl", "--scrub", "patterns"], 3, "Line 2 of bad.jsonl"),
        (["scrub", "one.jsonl", "one.jsonl"], 2, "one.jsonl exists already"),
        (["prepare", "", "v.db"], 3, "name of the corpus is empty"),
        (["vault", "show", "missing.db"], 3, "There is no vault"),
        (["vault", "show", "empty.jsonl"], 3, "is not a vault"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "bad.jsonl").write_text('{"user": "a", "text": "x"}\nnot json\n')
    (tmp_path / "blank.jsonl").write_text("".join(f'{{"user": "{u}", "text": " "}}\n' for u in "aabb"))
    (tmp_path / "nouser.jsonl").write_text('{"text": "x"}\n')
    (tmp_path / "one.jsonl").write_text('{"user": "a", "text": "x"}\n' * 3)
    done = fedlm(*arguments, *(["--set", "scrub=none"] if arguments[0] == "simulate" else []), cwd=tmp_path)
    assert (done.returncode, says in done.stderr, done.stderr.count("\n")) == (code, True, 1), done.stderr
    inputs = {"empty.jsonl", "bad.jsonl", "blank.jsonl", "nouser.jsonl", "one.jsonl"}
    assert {p.name for p in tmp_path.rglob("*")} - inputs <= {"runs"}  # nothing half-written


@pytest.mark.parametrize("kilobytes", [2, 10, 30])
def test_a_disk_that_fills_up_leaves_neither_vault_nor_key(kilobytes: int, tmp_path: Path) -> None:
    lines = [{"user": f"u{i % 6}", "text": "some words of no one " * 40} for i in range(60)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = f"ulimit -f {kilobytes}; exec {sys.executable} -m fedlm prepare mine.jsonl v.db --scrub none"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["mine.jsonl"]


def test_a_key_stays_with_a_vault_that_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps({"user": u, "text": "x"}) + "\n" for u in "aabb"))

    def interrupted(folder: Path) -> None:
        if (folder / "v.db").exists():
            raise KeyboardInterrupt

    monkeypatch.setattr("fedlm.system.own_files.sync_folder", interrupted)
    assert fedlm("prepare", "mine.jsonl", "v.db", "--scrub", "none", cwd=tmp_path).returncode == 130
    assert fedlm("vault", "verify", "v.db", cwd=tmp_path).stdout == "all 2 clients open\n"


def test_vaults_and_keys_that_do_not_do(tmp_path: Path) -> None:
    lines = [{"user": f"u{i % 4}", "text": f"word {i}"} for i in range(16)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in ("v.db", "other.db"):
        assert fedlm("prepare", "mine.jsonl", name, "--scrub", "none", cwd=tmp_path).returncode == 0
    whole, key = (tmp_path / "v.db").read_bytes(), (tmp_path / "v.db.key").read_bytes()

    def refused(says: str) -> None:
        done = fedlm("simulate", "v.db", "--out", "run", cwd=tmp_path)
        assert (done.returncode, says in done.stderr, done.stderr.count("\n")) == (3, True, 1), done.stderr
        assert not (tmp_path / "run").exists()

    (tmp_path / "v.db").write_bytes(whole[: len(whole) // 2])
    refused("is damaged: restore it from a backup")
    (tmp_path / "v.db").write_bytes(whole)
    (tmp_path / "v.db.key").write_bytes((tmp_path / "other.db.key").read_bytes())
    refused("the key is not this vault's")
    (tmp_path / "v.db.key").write_bytes(key)
    (tmp_path / "v.db.key").chmod(0o644)
    refused("run chmod 600 on it")
    (tmp_path / "v.db.key").chmod(0o600)
    with sqlite3.connect(tmp_path / "v.db") as database:
        database.execute("UPDATE meta SET value = '99' WHERE key = 'format'")
    refused("newer format")
