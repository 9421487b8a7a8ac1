"""A search from its data to its files: resumed, extended, refused; and held-out text is never read."""

import csv
import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import fedlm as api
from fedlm.config import RunConfig
from fedlm.errors import ConfigError, CorpusError, VaultError
from fedlm.preparation.validation import derive_validation_vault
from fedlm.system.locks import holding
from fedlm.vault.editor import VaultEditor
from fedlm.vault.format import Part
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from scenarios.runner.record import RESULT
from scenarios.tuning.axes import read_axes
from scenarios.tuning.data import ValidationData
from scenarios.tuning.grid import build_grid
from scenarios.tuning.outcome import Outcome
from scenarios.tuning.search import FIRST_SEED, MARK, Search
from tests.support.running import fedlm
from tests.support.tiny_study import SharedEngine

CORPUS = "synthetic(clients=6, messages=12)"
SMALL: dict[str, Any] = {"scrub": "none", "model": "lstm(units=8, layers=1)", "rounds": 2, "cohort_size": 3}
RATES = "client_optimizer.learning_rate=0.5,2"


def sealed(folder: Path, **settings: object) -> Path:
    done = api.prepare(CORPUS, folder / "v.db", scrub="none", **settings)
    return done.vault


def key_of(vault: Path) -> KeySource:
    return KeySource(file=vault.with_name(f"{vault.name}.key"))


def seal(corpus: str, vault: Path, source: KeySource, config: RunConfig) -> None:
    api.prepare(corpus, vault, config, key=source)


def search(
    corpus: object, out: Path, *grid: str, seeds: int = 2, per: str = "", said: Any = None, **settings: Any
) -> Outcome:
    base = RunConfig.checked({**SMALL, **settings})
    asked = build_grid(base, read_axes(grid or [RATES]), per)
    return Search(str(corpus), asked, base, out, seeds, key_of, seal, said, SharedEngine).run()


def ends(out: Path) -> dict[str, int]:
    """Returns when each run ended."""
    return {file.parent.name: file.stat().st_mtime_ns for file in (out / "runs").glob(f"*/{RESULT}")}


# --- the text ---------------------------------------------------------------------------------------------------------


def test_validation_text_is_the_end_of_the_training_text_and_held_out_text_stays_closed(tmp_path: Path) -> None:
    source, made = sealed(tmp_path), tmp_path / "validation.db"
    with_key = KeySource(file=tmp_path / "validation.key")
    with sqlite3.connect(source) as database:
        database.execute("UPDATE shard SET held_out = x'00'")  # whoever opens it gets an error
    database.close()
    opened = Vault(source, key_of(source))
    derive_validation_vault(opened, made, tmp_path / "validation.key", RunConfig.checked({}), bytes(32))
    found = Vault(made, with_key)
    assert [name for name, _ in found.names()] == [name for name, _ in opened.names()]
    for name, _ in opened.names():
        known = opened.documents(opened.pseudonym(name))
        client = found.pseudonym(name)
        train, validation = found.documents(client), found.documents(client, Part.HELD_OUT)
        assert train + validation == known and len(validation) == (max(1, len(known) // 5) if len(known) > 1 else 0)
        assert found.tokens(client) == sum(len(text) + 1 for text in train)  # characters, and one end a document
    assert found.vault_id != opened.vault_id and found.key_fingerprint != opened.key_fingerprint
    assert found.verify() == []
    with pytest.raises(VaultError):
        Vault(made, key_of(source))


def test_a_vaults_own_validation_text_is_compared_on(tmp_path: Path) -> None:
    rows = [{"user": f"u{i % 3}", "text": f"hello {i}"} for i in range(30)]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    test = tmp_path / "t.jsonl"
    test.write_text("\n".join(json.dumps({"user": user, "text": "new"}) for user in ("u0", "eve")))
    api.prepare(tmp_path / "c.jsonl", tmp_path / "v.db", scrub="none", validation_fraction=0.3, test=test)
    with sqlite3.connect(tmp_path / "v.db") as database:
        database.execute("UPDATE shard SET held_out = x'00'")
    database.close()
    opened, made = Vault(tmp_path / "v.db", key_of(tmp_path / "v.db")), tmp_path / "validation.db"
    derive_validation_vault(opened, made, tmp_path / "validation.key", RunConfig.checked({}), bytes(32))
    found = Vault(made, KeySource(file=tmp_path / "validation.key"))
    assert sorted(name for name, _ in found.names()) == ["u0", "u1", "u2"]  # eve has test text only
    for name, _ in found.names():
        client, known = found.pseudonym(name), opened.pseudonym(name)
        assert found.documents(client) == opened.documents(known) and len(found.documents(client)) == 7
        assert found.documents(client, Part.HELD_OUT) == opened.documents(known, Part.VALIDATION)
        assert found.documents(client, Part.VALIDATION) == []
    assert found.about["validation_fraction"] == 0 and "test" not in found.about
    opened.close()
    outcome = search(tmp_path / "v.db", tmp_path / "out")
    assert outcome.best is not None and outcome.best.setting.config.validation_fraction == 0


def test_text_of_single_documents_has_nothing_to_validate_on(tmp_path: Path) -> None:
    lines = [json.dumps({"user": f"u{i % 3}", "text": "hello there"}) for i in range(6)]
    (tmp_path / "two.jsonl").write_text("\n".join(lines))
    api.prepare(tmp_path / "two.jsonl", tmp_path / "v.db", scrub="none")  # one document trains, one is held out
    with pytest.raises(CorpusError, match="No client has validation text, or two training documents"):
        search(tmp_path / "v.db", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_changed_vault_is_other_text_and_its_old_copy_goes(tmp_path: Path) -> None:
    vault = sealed(tmp_path)

    def data() -> ValidationData:
        return ValidationData(tmp_path / "copies", str(vault), RunConfig.checked(SMALL), key_of, seal)

    before = data()
    path, key = before.make()
    assert (data().identity, data().make()[0]) == (before.identity, path)
    with VaultEditor(vault, key_of(vault)) as editor:
        editor.remove(next(iter(Vault(path, key).names()))[0], 1)
        editor.rewrap()
        editor.commit()
    assert data().identity != before.identity
    other, _ = data().make()
    assert not path.exists() and not key.file.exists() and other.exists()  # type: ignore[union-attr]
    path.unlink(missing_ok=True)
    for file in (tmp_path / "copies").iterdir():
        file.unlink()
    with pytest.raises(VaultError, match="has just been changed"):
        before.make()


# --- errors -----------------------------------------------------------------------------------------------------------


def test_private_text_is_not_tuned_under_differential_privacy(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(json.dumps({"user": "u", "text": "hello"}))
    private = {"clip_norm": 1.0, "noise_multiplier": 1.0, "sampling_rate": 0.5, "weighting": "uniform"}
    private |= {"max_client_tokens": 1000, "mechanism": "gaussian"}
    for settings in (private, {"vocabulary": "private(epsilon=1.0)"}):
        with pytest.raises(ConfigError, match=r"Papernot and Steinke 2022.*tune on a public corpus"):
            search(tmp_path / "mine.jsonl", tmp_path / "out", **settings)
    with pytest.raises(ConfigError, match="Papernot"):
        search(tmp_path / "mine.jsonl", tmp_path / "out", "vocabulary=chars,private(epsilon=1.0)")
    assert not (tmp_path / "out").exists()


def test_the_folder_of_something_else_and_a_held_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not the folder of a search"):
        search(CORPUS, tmp_path / "mine")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="exists already"):
        search(CORPUS, tmp_path / "file")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    (tmp_path / "held").mkdir()
    with (
        holding(tmp_path / "held" / MARK, 1, ""),
        pytest.raises(ConfigError, match=r"Another process is working in .*held"),
    ):
        search(CORPUS, tmp_path / "held")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--grid", "local_epochs=1"], 2, "has one value"),
        (["--grid", "local_epoch=1,2"], 2, "did you mean local_epochs"),
        ([], 2, "A search needs a grid"),
        (["--grid", "local_epochs=1,1"], 2, "twice"),
        (["--grid", "client_optimizer.rate=1,2"], 2, "has no option 'rate'"),
        (["--grid", "local_epochs=1,2", "--seeds", "0"], 2, "0 is not a number >= 1"),
        (["--grid", "local_epochs=1,2", "--per", "strategy"], 2, "--per strategy names nothing"),
        (["--grid", "local_epochs=1,2", "--set", "rounds=x"], 2, "'x' is not a whole number"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(tmp_path: Path, words: list[str], code: int, says: str) -> None:
    done = fedlm("tune", CORPUS, *words, "--out", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (code, 1, ""), done.stderr
    assert says in done.stderr and not (tmp_path / "out").exists()


def test_a_missing_corpus_or_vault_is_code_3_and_leaves_no_folder(tmp_path: Path) -> None:
    for corpus in ("none.jsonl", "none.db"):
        done = fedlm("tune", corpus, "--grid", RATES, "--out", "out", cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
        assert not (tmp_path / "out").exists()


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.flower
def test_a_search_is_repeated_without_runs_and_extended_by_those_that_are_new(tmp_path: Path) -> None:
    vault, out, said = sealed(tmp_path), tmp_path / "out", list[str]()
    first = search(vault, out, said=said.append)
    table, before = (out / "tuned.csv").read_text(), ends(out)
    assert len(before) == 4 and said[0] == "2 settings, 2 seeds each: 4 runs of 2 rounds"
    assert not (out / "vaults").exists() and not list(out.rglob("checkpoint")) and not list(out.rglob("*.parquet"))
    again = search(vault, out, said=said.append)
    assert (again, (out / "tuned.csv").read_text(), ends(out)) == (first, table, before)
    assert "4 of 4 runs are done already" in said
    more = search(vault, out, "client_optimizer.learning_rate=0.5,2,1e30", said=said.append, max_clients=5)
    assert "max_clients=5 has no effect: the vault was prepared with 0." in said
    assert len(ends(out)) == 6 and before.items() <= ends(out).items()
    rows = {r["client_optimizer.learning_rate"]: r for r in csv.DictReader((out / "tuned.csv").open())}
    assert rows["1e30"]["status"] == "diverged" and rows["1e30"]["mean"] == ""
    old = {r["client_optimizer.learning_rate"]: r["mean"] for r in csv.DictReader(table.splitlines())}
    assert {rate: rows[rate]["mean"] for rate in old} == old
    assert more.best == first.best or more.best is not None
    diverged = ends(out)
    search(vault, out, "client_optimizer.learning_rate=0.5,2,1e30")
    assert ends(out) == diverged  # a run that diverged is a result
    fewer = search(vault, out, "client_optimizer.learning_rate=2,1e30")
    assert fewer.notes == (
        "The folder has 2 finished runs of other grids, budgets or data; they are not in the table.",
    )
    config = RunConfig.load(out / "tuned.toml")
    assert config.client_optimizer == "sgd(learning_rate=2)" and config.seed == 0 and config.rounds == 2


@pytest.mark.slow
@pytest.mark.flower
def test_held_out_text_and_the_searchs_own_seeds_do_not_meet_those_of_a_study(tmp_path: Path) -> None:
    """Two vaults that differ in held-out text alone give the same figures."""
    figures = []
    for end in ("never read", "nor is this, whatever it says"):
        lines = [
            json.dumps({"user": f"u{u}", "text": end if n == 4 else f"message {n} of {u}, and a little more text"})
            for u in range(4)
            for n in range(5)
        ]
        folder = tmp_path / f"{len(end)}"
        folder.mkdir()
        (folder / "mine.jsonl").write_text("\n".join(lines))
        outcome = search(folder / "mine.jsonl", folder / "out")
        figures.append([(row.setting.words, row.by_seed) for row in outcome.methods[0].rows])
        text = "".join(p.read_text(errors="replace") for p in (folder / "out").rglob("*") if p.is_file())
        assert "message" not in text and end not in text and "nan" not in text.lower()
    assert figures[0] == figures[1]
    assert all(seed >= FIRST_SEED > 99 for _, by_seed in figures[0] for seed in by_seed)


@pytest.mark.slow
@pytest.mark.flower
def test_a_killed_search_goes_on_to_the_same_table(tmp_path: Path) -> None:
    vault = sealed(tmp_path)
    settings = [w for k, v in {**SMALL, "rounds": 4}.items() for w in ("--set", f"{k}={v}")]
    command = [sys.executable, "-m", "fedlm", "tune", str(vault), "--grid", RATES, "--seeds", "2", *settings]
    killed = tmp_path / "killed"
    for number in (signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen([*command, "--out", str(killed)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        before = len(ends(killed))
        while process.poll() is None and len(ends(killed)) == before:
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        if number == signal.SIGINT and process.returncode:
            assert (process.returncode, said) == (130, b"fedlm: interrupted; the same command continues.\n")
    kept = ends(killed)
    assert len(kept) >= 1
    sealed_again = list((killed / "vaults").glob("*.db"))
    assert all(file.read_bytes()[:6] == b"SQLite" for file in sealed_again)
    search(vault, killed, rounds=4)
    search(vault, tmp_path / "whole", rounds=4)
    assert kept.items() <= ends(killed).items()
    assert (killed / "tuned.csv").read_bytes() == (tmp_path / "whole" / "tuned.csv").read_bytes()
    assert not (killed / "vaults").exists()


@pytest.mark.slow
@pytest.mark.flower
def test_a_public_corpus_is_tuned_under_differential_privacy_and_per_method(tmp_path: Path) -> None:
    private = {"clip_norm": 1.0, "noise_multiplier": 0.1, "sampling_rate": 0.5, "weighting": "uniform"}
    private |= {"max_client_tokens": 1000, "mechanism": "gaussian", "rounds": 1}
    outcome = search(
        CORPUS, tmp_path / "out", "strategy=FedAvg,FedAdam", "strategy.eta=0.01,0.1", per="strategy", **private
    )
    assert [len(m.rows) for m in outcome.methods] == [1, 2] and all(m.chosen for m in outcome.methods)
    assert not list((tmp_path / "out").rglob("private"))


@pytest.mark.slow
@pytest.mark.flower
def test_the_command_prints_json_and_python_reads_the_same(tmp_path: Path) -> None:
    sets = [w for k, v in {**SMALL, "rounds": 1}.items() for w in ("--set", f"{k}={v}")]
    done = fedlm("tune", CORPUS, "--grid", RATES, "--seeds", 1, *sets, "--out", "out", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    read = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(name))
    again = api.tune(
        CORPUS, {"client_optimizer.learning_rate": [0.5, 2]}, seeds=1, out=tmp_path / "out", **{**SMALL, "rounds": 1}
    )
    assert again.content == read == json.loads((tmp_path / "out" / "tuned.json").read_text())
    assert (
        again.chosen[""] == read["methods"][0]["chosen"] and again.notes == read["methods"][0]["notes"] + read["notes"]
    )
    assert again.config() == RunConfig.load(tmp_path / "out" / "tuned.toml")
    assert list(again.table["status"]) == ["chosen", ""] or again.table["status"].isna().tolist() == [False, True]
