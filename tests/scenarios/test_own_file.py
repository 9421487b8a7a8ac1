"""A study in a file of one's own, with a measure of its own: `fedlm study FILE.py`, and `Study` in Python."""

import json
import math
from pathlib import Path

import pytest

from fedlm.errors import ConfigError
from scenarios.runner.catalog import load_scenario
from scenarios.runner.design import Options
from scenarios.runner.job import make_job
from scenarios.runner.record import RESULT, RunRecord, read_record
from scenarios.runner.runner import run_study
from scenarios.runner.study import Study
from tests.support.made_study import made, record
from tests.support.tiny_study import SharedEngine
from tests.support.toys import toy_study

TOY = str(Path(str(toy_study.__file__)))


@pytest.mark.slow
@pytest.mark.flower
def test_a_study_file_and_its_measure_run_end_to_end(tmp_path: Path) -> None:
    result = Study.load(TOY).run(tmp_path, seeds=2, quick=True, engine=SharedEngine(tmp_path, 2))
    assert result.failed == {} and result.report.is_file()
    page = result.report.read_text()
    assert (
        "Does a second round help?" in page and "clients above 6 bits per character (fraction); lower is better" in page
    )
    table = result.table
    toy = table[table.metric == "toy_above_bound"]
    assert toy.condition.tolist() == ["1 rounds", "2 rounds"] and toy["mean"].between(0, 1).all()
    assert (
        math.isnan(toy.difference.iloc[0]) and math.isfinite(toy.difference.iloc[1]) and toy["count"].tolist() == [2, 2]
    )
    runs = result.runs
    assert set(runs.seed) == {0, 1} and set(runs.client) == {-1, 0, 1, 2, 3}
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob(RESULT)}
    run_study(TOY, Options(quick=True), 2, tmp_path, None)  # as the command line does; all is done
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob(RESULT)}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("QUESTION = 'Why?'", "does not define study"),
        ("def study(options): ...", "does not define QUESTION"),
        ("def study(", "does not load"),
        (
            "import no_such_package",
            r"does not load: ModuleNotFoundError at mine\.py:1: No module named 'no_such_package'",
        ),
        ("\nx = {}['a']", r"does not load: KeyError at mine\.py:2: 'a'\."),
        (
            "QUESTION = 'Why?'\ndef study(options):\n    raise ValueError('no\\ncases')",
            r"ValueError at mine\.py:3: no cases\.",
        ),
        ("QUESTION = 'Why?'\ndef study(): ...", r"must be callable as study\(options\)"),
        ("QUESTION = 'Why?'\ndef study(options): return 1", "returns int; it must return a Study"),
    ],
)
def test_a_bad_study_file_is_one_sentence(content: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(content)
    with pytest.raises(ConfigError, match=says) as caught:
        Study.load(file)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="There is no study file"):
        load_scenario(str(tmp_path / "none.py"))


def test_loading_takes_the_options_and_knows_both_versions() -> None:
    full = Study.load("label_skew", corpus="mine.jsonl", group="dialect")
    assert full.corpus == "mine.jsonl" and "dialect" in str(full.cases[2].settings)
    quick = full.version(quick=True)
    assert len(quick.cases) < len(full.cases) and quick.corpus == "mine.jsonl" and quick.version(quick=True) is quick
    with pytest.raises(ConfigError, match="declared in place"):
        made().version(quick=True)
    with pytest.raises(ConfigError, match="negative"):
        made().run("nowhere", seeds=-1)


def test_another_measure_makes_another_run(tmp_path: Path) -> None:
    keys = []
    with_measure = Path(TOY).read_text()
    without = with_measure.replace("measures=(TOY,)", "measures=()").replace('"toy_above_bound"', '"loss"')
    for text in (with_measure, without):
        (tmp_path / "mine.py").write_text(text)
        study = Study.load(tmp_path / "mine.py")
        keys.append(make_job(study, study.cases[0], 0, 1).key)
    assert keys[0] != keys[1]


def test_results_survive_json_and_damage(tmp_path: Path) -> None:
    first = record(made().cases[0], 0, bits_per_char=2.0, accuracy=math.nan)
    first.write(tmp_path)
    again = read_record(tmp_path, "key")
    assert again is not None and math.isnan(again.figures["accuracy"]) and again.clients == first.clients
    assert read_record(tmp_path, "other key") is None and read_record(tmp_path / "none", "key") is None
    whole = (tmp_path / RESULT).read_text()
    for damaged in ("", whole[:-5], "[]", "{}", "null", whole.replace('"figures"', '"f"')):
        (tmp_path / RESULT).write_text(damaged)
        assert read_record(tmp_path, "key") is None  # the run is done again


def test_a_result_of_the_version_before_is_read_with_one_warning(tmp_path: Path) -> None:
    content = record(made().cases[0], 0, bits_per_char=2.0).to_json()
    content["clients"] = [{"client": c, "group": "", "bits_per_char": 2.0, "alone_bits_per_char": 3.0} for c in (0, 1)]
    (tmp_path / RESULT).write_text(json.dumps(content))
    with pytest.warns(FutureWarning, match="local_only_bits_per_char") as caught:
        found = read_record(tmp_path, "key")
    assert len(caught) == 1 and isinstance(found, RunRecord)
    assert found.clients[0] == {"client": 0, "group": "", "bits_per_char": 2.0, "local_only_bits_per_char": 3.0}
