"""What steers a run reads validation text, and the final figures read held-out text once."""

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from fedlm import load_run
from fedlm.types import Evaluated
from server.run.participation import ParticipationLedger
from tests.support.running import fedlm

MODEL = ["model=lstm(units=8, layers=1)", "scrub=none", "pseudonym_key=seed", "eval_every=1", "cohort_size=3"]
STOPS = [*MODEL, "rounds=8", "patience=2", "min_gain=0.3"]
WORDS = ["the", "rain", "in", "spain", "stays", "mainly", "in", "the", "plain", "and", "so", "do", "we"]


def sentence(client: int, place: int) -> str:
    return " ".join(WORDS[(client + 3 * place + step) % len(WORDS)] for step in range(6)) + f" {place}."


def write(path: Path, tests: str = "", clients: int = 4, documents: int = 10) -> Path:
    """Ten documents a client, of which the last two are test text with other words, if `tests` has any."""
    rows = [
        {
            "user": f"u{client}",
            "text": tests + sentence(client, place) if place >= documents - 2 else sentence(client, place),
        }
        for client in range(clients)
        for place in range(documents)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(folder: Path, corpus: object, out: str, settings: list[str], *more: object, code: int = 0) -> Any:
    sets = [word for setting in settings for word in ("--set", setting)]
    done = fedlm("simulate", corpus, *sets, "--out", out, "--workers", 1, *more, cwd=folder)
    assert done.returncode == code, done.stderr
    return done


def lines(run_folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]


def summary(run_folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run_folder / "summary.json").read_text())
    return found


def test_early_stopping_does_not_read_test_text_where_there_is_validation_text(tmp_path: Path) -> None:
    for name, tests in (("plain", ""), ("odd", "XQZ 77 ")):
        run(tmp_path, write(tmp_path / f"{name}.jsonl", tests), name, [*STOPS, "validation_fraction=0.1"])
    plain, odd = summary(tmp_path / "plain"), summary(tmp_path / "odd")
    assert plain["early_stopping"] == odd["early_stopping"]
    assert plain["early_stopping"]["part"] == "validation" and "note" not in plain["early_stopping"]
    assert plain["early_stopping"]["rounds"] < 8  # it did stop early
    assert plain["weights_sha256"] == odd["weights_sha256"]
    evaluations = [[m["eval"] for m in lines(tmp_path / name)] for name in ("plain", "odd")]
    assert evaluations[0] == evaluations[1]
    assert plain["final"] != odd["final"]  # the test text alone tells them apart
    report = (tmp_path / "odd" / "report.html").read_text()
    assert "lowest validation loss" in report and "Held-out text was read once" in report


def test_held_out_text_that_does_not_open_fails_the_end_and_nothing_before_it(tmp_path: Path) -> None:
    """Whoever reads a part that does not open gets an error, so nothing has read it before the last round was done."""
    assert (
        fedlm(
            "prepare",
            write(tmp_path / "c.jsonl"),
            "v.db",
            "--validation-fraction",
            0.1,
            "--scrub",
            "none",
            cwd=tmp_path,
        ).returncode
        == 0
    )
    with contextlib.closing(sqlite3.connect(tmp_path / "v.db")) as db:
        sealed = db.execute("SELECT row_id, held_out FROM shard").fetchall()
        db.execute("UPDATE shard SET held_out = x'00'")
        db.commit()
    done = run(tmp_path, "v.db", "r", STOPS, code=3)
    assert "Evaluation after round" in done.stderr and "does not open" in done.stderr
    trained = lines(tmp_path / "r")
    assert len(trained) >= 3 and all(line["part"] == "validation" for line in trained)
    with contextlib.closing(sqlite3.connect(tmp_path / "v.db")) as db:
        db.executemany("UPDATE shard SET held_out = ?2 WHERE row_id = ?1", sealed)
        db.commit()
    unfinished = fedlm("evaluate", "r", cwd=tmp_path)
    assert unfinished.returncode == 2 and "not at its end yet" in unfinished.stderr
    run(tmp_path, "v.db", "r", [], "--resume")
    assert lines(tmp_path / "r") == trained and summary(tmp_path / "r")["final"]["tokens"] > 0
    assert "accuracy" in fedlm("evaluate", "r", cwd=tmp_path).stdout
    found = load_run(tmp_path / "r").clients
    assert set(found[found.part == "held_out"]["round"]) == {summary(tmp_path / "r")["early_stopping"]["best_round"]}
    assert len(found[found.part == "validation"]) == 4 * len(trained)


def test_without_validation_text_the_last_evaluation_is_the_final_figure_and_is_said_to_be(tmp_path: Path) -> None:
    corpus = write(tmp_path / "c.jsonl")
    unset, zero = ([*STOPS, *more] for more in ([], ["validation_fraction=0"]))
    said = run(tmp_path, corpus, "unset", unset).stdout
    run(tmp_path, corpus, "zero", zero)
    first, second = summary(tmp_path / "unset"), summary(tmp_path / "zero")
    assert first["weights_sha256"] == second["weights_sha256"] and first["final"] == second["final"]
    best = first["early_stopping"]["best_round"]
    (chosen,) = [line["eval"] for line in lines(tmp_path / "unset") if line["round"] == best]
    assert first["final"] == chosen and "part" not in lines(tmp_path / "unset")[0]
    for told in (said, (tmp_path / "unset" / "report.html").read_text(), first["early_stopping"]["note"]):
        assert "chosen on the held-out text that the final figures report" in told
    assert not [f for f in (tmp_path / "unset").iterdir() if f.name.startswith("final")]


def test_a_run_that_is_extended_reads_held_out_text_again_under_its_new_weights(tmp_path: Path) -> None:
    corpus, settings = write(tmp_path / "c.jsonl"), [*MODEL, "validation_fraction=0.1"]
    run(tmp_path, corpus, "r", [*settings, "rounds=1"])
    first = summary(tmp_path / "r")
    run(tmp_path, corpus, "r", [], "--resume")  # nothing to train, nothing read again
    assert summary(tmp_path / "r")["final"] == first["final"]
    run(tmp_path, corpus, "r", ["rounds=3"], "--resume")
    run(tmp_path, corpus, "whole", [*settings, "rounds=3"])
    assert summary(tmp_path / "r")["final"] == summary(tmp_path / "whole")["final"] != first["final"]


@pytest.mark.parametrize(("fraction", "key"), [("0.0", "holdout_fraction"), ("0.5", "validation_fraction")])
def test_early_stopping_without_text_to_read_is_one_sentence(tmp_path: Path, fraction: str, key: str) -> None:
    corpus = write(tmp_path / "c.jsonl", documents=2 if fraction != "0.0" else 4)
    holdout = "holdout_fraction=0" if fraction == "0.0" else "holdout_fraction=0.4"
    done = run(tmp_path, corpus, "r", [*STOPS, holdout, f"validation_fraction={fraction}"], code=2)
    assert f"set {key} above 0" in done.stderr and "Traceback" not in done.stderr


def test_clients_of_the_test_text_alone_are_evaluated_and_in_no_cohort(tmp_path: Path) -> None:
    corpus = write(tmp_path / "c.jsonl", clients=3)
    test = tmp_path / "test.jsonl"
    test.write_text("".join(json.dumps({"user": f"u{c}", "text": sentence(c, 50)}) + "\n" for c in (0, 1, 7, 8)))
    done = run(tmp_path, corpus, "r", [*MODEL, "rounds=3", "cohort_size=5"], "--test", test)
    assert "evaluated and never train: 2" in done.stdout and "population: all 3 clients train" in done.stdout
    took_part = {c for entry in ParticipationLedger(tmp_path / "r").rounds() for c in entry.clients}
    evaluated = set(map(int, load_run(tmp_path / "r").clients["client"]))
    assert len(took_part) == 3 and len(evaluated) == 4 and len(evaluated - took_part) == 2
    about = summary(tmp_path / "r")["corpus"]
    assert (about["test"], about["evaluated_only"], about["without_held_out"]) == ("test.jsonl", 2, 1)
    assert "trained on 3 clients" in (tmp_path / "r" / "report.html").read_text()


def test_test_text_for_a_vault_or_beside_held_out_text_is_refused(tmp_path: Path) -> None:
    corpus = write(tmp_path / "c.jsonl")
    assert fedlm("prepare", corpus, "v.db", "--scrub", "none", cwd=tmp_path).returncode == 0
    assert "give --test to fedlm prepare" in run(tmp_path, "v.db", "r", [], "--test", corpus, code=2).stderr
    said = run(tmp_path, corpus, "r", ["holdout_fraction=0.2"], "--test", corpus, code=2).stderr
    assert "does not go with a test corpus" in said and not (tmp_path / "r").exists()


def test_the_words_of_the_parts() -> None:
    assert [part.words for part in Evaluated] == ["validation", "held-out"]
