"""Studies of `scenarios/published/`: each declares a paper's results, and puts its own figures beside them."""

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from fedlm.errors import ConfigError
from fedlm.measure.rounds import ROUNDS_TO, curve_of, last_accuracy
from scenarios.runner.catalog import build_study, load_scenario, published_names
from scenarios.runner.published import NOT_CHECKED, SHORTENED, beside, published_answers, sides
from scenarios.runner.record import RESULT
from scenarios.runner.runner import Runner, grid
from scenarios.runner.study import Case, Options, Paper, Published, Study
from scenarios.runner.wording import method
from tests.support.made_study import made, record
from tests.support.tiny_study import SharedEngine

FILES = ("train.h5", "test.h5")
LINES = ("what light through yonder window breaks", "it is the east", "and juliet is the sun", "arise fair sun")


def options(name: str, *, quick: bool) -> Options:
    """The options that a published study needs: the two files where it reads the user's own."""
    needs = "--corpus" in str(load_scenario(name).__doc__)
    return Options(quick, *((FILES[0], "", FILES[1]) if needs else ("", "", "")))


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", published_names())
def test_every_published_study_declares_its_paper(name: str, quick: bool) -> None:
    module, study = load_scenario(name), build_study(name, options(name, quick=quick))
    assert study.name == name and study.question == module.QUESTION and module.QUESTION.endswith("?")
    assert f"fedlm study {name}" in module.__doc__ and "--quick" in module.__doc__ and study.limits
    paper = study.paper
    assert (
        paper is not None
        and paper.shortened == quick
        and paper.url in module.__doc__.replace("(10.", "(https://doi.org/10.")
    )
    assert paper.rows and paper.differences and str(paper.citation).endswith(".")
    assert all(row.value is not None or row.says for row in paper.rows)
    jobs = grid(study, [0, 1], 2)
    assert len({j.key for j in jobs}) == 2 * len(study.cases)
    assert all(job.config.validation_fraction == 0 for job in jobs if any(row.value for row in paper.rows))
    assert f"{len(study.cases)} runs, 0 failed" in method(
        study, [0], 0
    )  # else a study fails when all its runs are done


def test_files_are_asked_for_and_not_taken_in_vain() -> None:
    for given in (Options(), Options(corpus="train.h5"), Options(test="test.h5")):
        with pytest.raises(ConfigError, match=r"--corpus shakespeare_train\.h5 --test shakespeare_test\.h5"):
            build_study("published/reddi2021", given)
    for name, given in (
        ("published/leaf2018", Options(test="test.h5")),
        ("label_skew", Options(corpus="train.h5", test="test.h5")),
    ):
        with pytest.raises(ConfigError, match="leave --test out"):
            build_study(name, given)


def paper(*rows: Published, shortened: bool = False) -> Paper:
    return Paper("Ann 2020.", "https://example.org", rows, ("Another seed.",), shortened)


def test_the_table_by_hand() -> None:
    cases = (Case("even", algorithm="A"), Case("even", algorithm="B"), Case("skewed", algorithm="A"))
    rows = (
        Published("even", "accuracy", 0.5, "Table 1", algorithm="B", checked="the text"),
        Published("skewed", "accuracy", None, "Figure 2", says="falls", against="even"),
        Published("skewed", "loss", 3.0, "Table 3"),
    )
    study = made(cases=cases, paper=paper(*rows))
    records = [
        *(record(cases[0], seed, accuracy=0.4) for seed in (0, 1)),
        *(record(cases[1], seed, accuracy=value) for seed, value in enumerate((0.55, 0.57))),
        record(cases[2], 1, accuracy=0.1),  # seed 0 failed
    ]
    found = beside(study, records)
    assert found is not None
    first, second, third = found["rows"]
    assert first["ours"] == pytest.approx(0.56) and first["difference"] == pytest.approx(0.06)
    assert first["by_seed"] == {"0": 0.55, "1": 0.57} and (first["case"], first["checked"]) == ("even, B", "the text")
    assert second["ours"] == pytest.approx(0.1 - 0.4) and second["difference"] is None  # of the seed that both have
    assert second["case"] == "skewed, A minus even, A" and second["by_seed"].keys() == {"1"}
    assert third["ours"] is None and third["difference"] is None  # no run has it: no figure is made up
    said = published_answers(study, records)
    assert said[0] == "2 of 3 published results have a figure of this study beside them."
    assert "The largest difference is +0.06 (even, B: published 0.5, ours 0.56" in said[1]
    short = published_answers(replace(study, paper=paper(*rows, shortened=True)), records)
    assert short[0] == SHORTENED and not any("largest" in sentence for sentence in short)
    only = published_answers(replace(study, paper=paper(rows[1])), records)
    assert only == [said[0].replace("2 of 3", "1 of 1"), only[1]] and "in words or curves" in only[1]
    assert beside(made(), []) is None and published_answers(made(), []) == []


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (Published("uneven", "accuracy", 0.5, "Table 1"), "names no case of it: 'uneven'"),
        (Published("even", "accuracy", 0.5, "Table 1", algorithm="B"), "names no case of it: 'even'"),
        (Published("even", "accuracy", 0.5, "Table 1", against="odd"), "'even or odd'"),
        (Published("even", "acuracy", 0.5, "Table 1"), "did you mean 'accuracy'"),
    ],
)
def test_a_result_without_a_case_is_refused_before_the_first_run(row: Published, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        grid(made(paper=paper(row)), [0], 1)


def write(path: Path, clients: Mapping[str, list[str]]) -> Path:
    with h5py.File(path, "w") as file:
        for name, texts in clients.items():
            file.create_dataset(f"examples/{name}/snippets", data=texts, dtype=h5py.string_dtype())
    return path


@pytest.mark.slow
@pytest.mark.flower
def test_a_paper_is_repeated_on_given_files_from_end_to_end(tmp_path: Path) -> None:
    names = ("PLAY_ROMEO", "PLAY_JULIET", "PLAY_NURSE")
    train = write(tmp_path / "train.h5", {name: list(LINES) for name in names})
    test = write(tmp_path / "test.h5", {name: [LINES[place]] for place, name in enumerate(names)})
    study = Study.load("published/reddi2021", quick=True, corpus=str(train), test=str(test))
    assert study.paper is not None
    small = replace(
        study,
        cases=study.cases[:2],
        settings={**study.settings, "model": "lstm(units=8, layers=1)", "cohort_size": 2, "rounds": 3, "eval_every": 1},
        measures=(last_accuracy(2),),
        paper=replace(study.paper, rows=study.paper.rows[:2]),
        client_symbols=5,
    )
    out = tmp_path / "out"
    report = Runner(small, [0], out, engine=SharedEngine(out, 1)).run()
    content = json.loads((out / "study.json").read_text())
    assert content["failed"] == {} and content["test"] == str(test)
    first, second = content["paper"]["rows"]
    for row, run in zip((first, second), content["runs"], strict=True):
        lines = [json.loads(line) for line in (out / "runs" / run["folder"] / "metrics.jsonl").read_text().splitlines()]
        curve = dict(curve_of(lines))
        assert row["ours"] == pytest.approx((curve[2] + curve[3]) / 2)
        assert row["difference"] == pytest.approx(row["ours"] - row["published"])
        # The held-out text is the test file and nothing else: every symbol and one end symbol per document.
        assert lines[-1]["eval"]["tokens"] == sum(len(line) + 1 for line in LINES[: len(names)])
    assert first["published"] == 0.569 and math.isfinite(first["ours"])
    page = report.read_text()
    assert "Published results" in page and "it reproduces nothing" in page and NOT_CHECKED in page
    assert content["answers"][0] == SHORTENED
    with (out / "paper" / "published.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["FedAvg", "FedAdam"]
    assert float(rows[0]["difference"]) == first["difference"] and rows[1]["checked"] == ""
    assert {row["shortened"] for row in rows} == {"true"}  # the file alone says that it reproduces nothing
    before = {p: p.stat().st_mtime_ns for p in out.rglob(RESULT)}
    more = replace(small, cases=study.cases[:3], paper=replace(study.paper, rows=study.paper.rows[:3]))
    Runner(more, [0], out, engine=SharedEngine(out, 1)).run()  # one row more: those that are done stay
    after = {p: p.stat().st_mtime_ns for p in out.rglob(RESULT)}
    assert len(before) == 2 and len(after) == 3 and before.items() <= after.items()


def small_version(name: str, folder: Path) -> Study:
    """Returns a study's first and last case and the results of these, with one round of eight units on little text."""
    names = ("PLAY_ROMEO", "PLAY_JULIET", "PLAY_NURSE")
    train = write(folder / FILES[0], {each: list(LINES) for each in names})
    test = write(folder / FILES[1], {each: [LINES[0]] for each in names})
    needs = options(name, quick=True).test
    study = Study.load(name, quick=True, **({"corpus": str(train), "test": str(test)} if needs else {}))
    assert study.paper is not None
    cases = tuple(
        replace(
            case,
            settings={**case.settings, "rounds": 1, "cohort_size": 2},
            corpus=case.corpus.replace("documents=60", "documents=5"),
        )
        for case in (study.cases[0], study.cases[-1])
    )
    left = replace(study, cases=cases, control="" if study.baseline else cases[0].condition)
    rows = tuple(r for r in study.paper.rows if all(sides(left, r)[: 2 if r.against else 1]))
    settings = {"model": "lstm(units=8, layers=1)", "rounds": 1, "eval_every": 1, "cohort_size": 2, "max_clients": 6}
    return replace(
        left,
        settings={**study.settings, **settings, **({"local_steps": 1} if study.settings.get("local_steps") else {})},
        paper=replace(study.paper, rows=rows),
        corpus=study.corpus.replace("clients=20, messages=20", "clients=6, messages=4"),
        client_symbols=5,
    )


@pytest.mark.slow
@pytest.mark.flower
@pytest.mark.parametrize("name", published_names())
def test_every_published_study_runs_on_a_tiny_scale(name: str, tmp_path: Path) -> None:
    study, out = small_version(name, tmp_path), tmp_path / "out"
    Runner(study, [0], out, engine=SharedEngine(out, 1)).run()
    content = json.loads((out / "study.json").read_text())
    assert content["failed"] == {} and len(content["runs"]) == 2
    figures = content["runs"][0]["figures"]
    missing = {metric for metric in study.table if figures.get(metric) is None}
    assert missing <= {ROUNDS_TO, "tokens_per_second"}  # no target is reached in one round, which is the one left out
    assert all(row["ours"] is not None or row["metric"] == ROUNDS_TO for row in content["paper"]["rows"])


def test_another_test_file_is_another_run(tmp_path: Path) -> None:
    train = write(tmp_path / "train.h5", {"ann": list(LINES), "bob": list(LINES)})
    keys = set()
    for text in ("one", "two"):
        test = write(tmp_path / "test.h5", {"ann": [text], "bob": [text]})
        study = Study.load("published/reddi2021", corpus=str(train), test=str(test))
        keys.add(grid(study, [0], 1)[0].key)
    assert len(keys) == 2
