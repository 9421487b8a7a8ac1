"""Studies as a whole: bad input is one sentence, what is cut off resumes, what failed is named."""

import ast
import json
import math
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedlm.errors import ConfigError, CorpusError
from fedlm.system.locks import holding
from scenarios.runner.execute import Stopped, Workplace, run_job
from scenarios.runner.job import make_job
from scenarios.runner.runner import LOCK, Runner, grid, run_study
from scenarios.runner.study import Case, Options
from scenarios.runner.vaults import Vaults
from scenarios.runner.wording import method
from tests.support.made_study import made
from tests.support.running import WORKERS
from tests.support.tiny_study import TINY


def place(runs: Path, vaults: Vaults, stop: threading.Event | None = None) -> Workplace:
    return Workplace(runs, vaults, stop or threading.Event(), lambda line: None, WORKERS)


@pytest.mark.parametrize(
    ("name", "options", "kind", "says"),
    [
        ("nothing", Options(), ConfigError, "There is no study 'nothing'"),
        ("minority_voice", Options(True, "mine.jsonl"), ConfigError, "needs --group"),
        (
            "minority_voice",
            Options(True, "mine.jsonl", "dialect"),
            ConfigError,
            "the label 'dialect'; the corpus has: part",
        ),
        ("privacy_utility", Options(True, "mine.jsonl", "dialect"), CorpusError, "'dialect'; they have: part"),
        ("quantity_imbalance", Options(True, "none.jsonl"), CorpusError, "none.jsonl"),
    ],
)
def test_bad_input_is_one_sentence(
    name: str, options: Options, kind: type[Exception], says: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"user": f"u{i % 20}", "text": "hello there", "part": "ab"[i % 2]}) for i in range(40)]
    Path("mine.jsonl").write_text("\n".join(lines))
    with pytest.raises(kind, match=says) as caught:
        run_study(name, options, 1, tmp_path / "out", None)
    assert "\n" not in str(caught.value)


def test_group_with_one_client_and_label_that_clients_lack(tmp_path: Path) -> None:
    lines = [json.dumps({"user": f"u{i % 5}", "text": "hello there", "kind": "a" if i % 5 else "b"}) for i in range(20)]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    for group, says in (("kind", "kind=b .* has one client only"), ("dialect", "they have: kind")):
        study = made(cases=(Case("even", corpus=str(tmp_path / "mine.jsonl")),), group=group)
        with pytest.raises(CorpusError, match=says):
            run_job(make_job(study, study.cases[0], 0, 1), place(tmp_path, Vaults(tmp_path / group)))
    with pytest.raises(ConfigError, match="same condition and algorithm"):
        grid(made(cases=(Case("a"), Case("a"))), [0], 2)


def test_a_folder_in_which_another_process_works_is_refused_and_stays(tmp_path: Path) -> None:
    out = tmp_path / "s"
    (out / "vaults").mkdir(parents=True)
    (out / "vaults" / "of-the-other.db").write_text("")
    with holding(out / LOCK, 1, ""), pytest.raises(ConfigError, match="Another process is working in"):
        Runner(made(), [0], out).run()
    assert (out / "vaults" / "of-the-other.db").exists() and not (out / "study.json").exists()


@pytest.mark.slow
@pytest.mark.flower
def test_iid_equals_the_control_and_a_failed_run_does_not_stop_the_study(tmp_path: Path) -> None:
    even = {"partition": "quantity(gini=0.0, clients=6, documents=180)"}
    broken = {"partition": "quantity(gini=0.99, clients=6, documents=20)"}
    cases = (Case("even", even), Case("other draw", {**even, "min_documents": 3}), Case("broken", broken))
    study = replace(made(cases=cases, local_passes=1, local_clients=4), settings={**TINY, "drift": True})
    said: list[str] = []
    report = Runner(study, [0], tmp_path / "s", echo=said.append).run()
    content = json.loads((tmp_path / "s" / "study.json").read_text())
    one, two = content["runs"]
    low, high = one["over_clients"]["bits_per_char"]
    assert low <= two["figures"]["bits_per_char"] <= high
    assert 1 < one["figures"]["label_entropy:play"] < math.log2(37)  # speeches of 37 plays, dealt at random
    assert -1 <= one["figures"]["update_cosine"] <= 1 and one["figures"]["update_norm"] > 0
    assert len(content["failed"]) == 1 and "reach Gini" in next(iter(content["failed"].values()))
    page = report.read_text()
    assert "Why?" in page and not re.search(r"""(src|href)="?(https?:|//)|url\(["']?(http|//)|@import""", page)
    from pyarrow import parquet

    rows = parquet.read_table(tmp_path / "s" / "results.parquet").to_pylist()
    assert {r["client"] for r in rows} == {-1, *range(6)}
    assert (
        sum(r["metric"] == "local_only_bits_per_char" for r in rows) == 2 * 4
    )  # runs that ended well, clients asked for
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "s" / "runs").rglob("result.json")}
    Runner(study, [0], tmp_path / "s", echo=said.append).run()
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "s" / "runs").rglob("result.json")}
    assert any("2 of 3 runs are done already" in s for s in said)


class Ended:
    """An engine that a signal reaches; it notes what it is told."""

    cores = most = 1

    def __init__(self, signal: BaseException) -> None:
        self.signal, self.told = signal, list[str]()

    def __enter__(self) -> "Ended":
        return self

    def __exit__(self, *_: object) -> None:
        self.told.append("closed")

    def submit(self, job: Any) -> Any:
        raise self.signal

    def rounds(self) -> int:
        return 0

    def stop(self) -> None:
        self.told.append("stopped")


@pytest.mark.parametrize("signal", [KeyboardInterrupt(), SystemExit(143)])
def test_a_signal_stops_the_engine_before_it_closes(signal: BaseException, tmp_path: Path) -> None:
    engine = Ended(signal)
    with pytest.raises(type(signal)):
        Runner(made(), [0], tmp_path / "s", engine=engine).run()
    assert engine.told == ["stopped", "closed"]


@pytest.mark.slow
@pytest.mark.flower
def test_interrupted_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    even = {"partition": "quantity(gini=0.0, clients=4, documents=40)", "rounds": 3}
    study, never, stop = made(cases=(Case("even", even),)), threading.Event(), threading.Event()
    job, vaults = make_job(study, study.cases[0], 0, 1), Vaults(tmp_path / "v")
    whole = run_job(job, place(tmp_path / "whole", vaults, never))
    cut = place(tmp_path / "cut", vaults, stop)
    with pytest.raises(Stopped):
        run_job(job, replace(cut, listener=lambda line: stop.set() if line["round"] == 1 else None))
    again = run_job(job, place(tmp_path / "cut", vaults, never))
    assert again.weights_sha256 == whole.weights_sha256
    figures = [{**r.figures, "tokens_per_second": 0.0} for r in (again, whole)]  # the only figure that is a time
    assert json.dumps(figures[0], sort_keys=True) == json.dumps(figures[1], sort_keys=True)  # as text, NaN equals NaN


def test_measures_load_no_tensorflow() -> None:
    for file in (Path(__file__).parents[2] / "fedlm" / "measure").glob("*.py"):
        names = {n.module or "" for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.ImportFrom)}
        assert not any(n.startswith(("tensorflow", "keras", "fedlm.training.trainer", "fedlm.models")) for n in names)
    code = "import sys, scenarios.runner.runner; assert 'tensorflow' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_study_chooses_on_validation_text_and_reports_held_out_text(tmp_path: Path) -> None:
    study = replace(made(), settings=TINY | {"patience": 1, "eval_every": 1})
    job = make_job(study, study.cases[0], 0, 1)
    assert job.config.validation_fraction == 0.1
    record = run_job(job, place(tmp_path / "runs", Vaults(tmp_path / "vaults")))
    lines = (tmp_path / "runs" / job.name / "metrics.jsonl").read_text().splitlines()
    assert {json.loads(line)["part"] for line in lines} == {"validation"}
    final = json.loads((tmp_path / "runs" / job.name / "final.json").read_text())["eval"]
    assert record.figures["bits_per_char"] == pytest.approx(final["bits_per_char"], rel=1e-12)
    best = min(json.loads(line)["eval"]["bits_per_char"] for line in lines[1:])
    assert record.figures["best_bits_per_char"] == pytest.approx(best) != final["bits_per_char"]
    without = replace(study, settings=study.settings | {"validation_fraction": 0.0})
    assert make_job(without, without.cases[0], 0, 1).config.validation_fraction == 0
    assert "held-out text is read once, at the end" in method(study, [0], 0)
    assert "There is no validation text" in method(without, [0], 0)
