"""A run, a study and a vocabulary of one's own text: who is left out is told, labels have names, texts are read as they come."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from scenarios.runner.job import make_job
from scenarios.runner.metrics import profile_vault
from scenarios.runner.study import Study
from scenarios.runner.vaults import Vaults
from tests.support.running import fedlm, simulate

TINY = ["scrub=none", "rounds=1", "cohort_size=2", "model=lstm(units=4, layers=1)", "min_documents=1"]


def mine(folder: Path) -> Path:
    rows = [
        {"user": f"u{i}", "text": "hello there", "dialect": "ns"[k % 2], "kind": "a"}
        for i in range(4)
        for k in range(16)
    ]
    rows += [{"user": "single", "text": "only one"}, {"user": "blank", "text": " "}, {"user": "u0 ", "text": "fifth"}]
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.slow
@pytest.mark.flower
def test_a_run_says_who_is_not_in_its_figures_and_names_labels(tmp_path: Path) -> None:
    mine(tmp_path)
    about = simulate("run", tmp_path, corpus="mine.jsonl", settings=TINY)["corpus"]
    assert (about["clients"], about["left_out_causes"], about["without_held_out"]) == (5, {"no_text": 1}, 1)
    assert about["label_entropy"] == {"dialect": 1, "kind": 0}
    report = (tmp_path / "run" / "report.html").read_text()
    assert "clients left out: 1 (1 without any text)" in report
    assert "clients without held-out text, which train and are not evaluated: 1" in report
    assert b"dialect" not in (tmp_path / "run" / "vault.db").read_bytes()


def test_a_study_of_own_text_names_labels_and_counts_who_is_left_out(tmp_path: Path) -> None:
    study = Study.load("label_skew", corpus=str(mine(tmp_path)), group="dialect").version(quick=True)
    case = replace(study.cases[0], settings={"rounds": 1})
    job = make_job(study, case, 0, 1)
    vault, source = Vaults(tmp_path / "vaults").get(job)
    data = profile_vault(vault, source, job).data
    assert data["left_out"] == 2 and data["clients"] == 4  # `single` and `blank`; `u0 ` is u0
    assert {"label_entropy:dialect", "label_entropy:kind"} <= data.keys()
    assert not any("label 1" in name for name in data)


@pytest.mark.parametrize("name", ["public.txt", "PUBLIC.TXT"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_public_text_of_a_vocabulary_is_read_as_a_corpus_is(tmp_path: Path, name: str, encoding: str) -> None:
    (tmp_path / name).write_bytes("caf\u00e9 one\r\n\r\ntwo caf\u00e9 words".encode(encoding))
    made = fedlm("vocabulary", name, "v.json", "--kind", "words", "--size", 50, cwd=tmp_path)
    if encoding == "latin-1":
        assert made.returncode == 3 and "byte 4 is 0xE9" in made.stderr
    else:
        assert made.returncode == 0 and "\ufeff" not in (tmp_path / "v.json").read_text()
