"""The contract of `scenarios/`: every file is a study that declares all it must, and runs."""

import json
from pathlib import Path

import pytest

from fedlm.data.corpus import is_public
from fedlm.measure.registry import known_metrics
from scenarios.runner.catalog import load_scenario, scenario_names
from scenarios.runner.runner import Runner, grid
from scenarios.runner.study import Options, Study
from scenarios.runner.wording import method
from tests.support.tiny_study import SharedEngine, tiny


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", scenario_names())
def test_every_study_declares_question_cases_table_figures_and_limits(name: str, quick: bool) -> None:
    module = load_scenario(name)
    study = module.study(Options(quick=quick))
    assert isinstance(study, Study)
    assert module.QUESTION.endswith("?") and study.question == module.QUESTION and study.name == name
    assert f"fedlm study {name}" in module.__doc__ and "--quick" in module.__doc__
    assert study.table == module.TABLE and study.figures and study.limits
    shown = {*study.table, *(m for f in study.figures for m in (f.metric, f.against) if m)}
    assert shown <= set(known_metrics(study.metrics))
    assert 1 <= len(study.contrasts) <= 2 and study.seeds >= 10
    assert len(Path(str(module.__file__)).read_text().splitlines()) <= 85


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", scenario_names())
def test_every_study_has_a_valid_grid_with_a_control(name: str, quick: bool) -> None:
    study = load_scenario(name).study(Options(quick=quick))
    jobs = grid(study, [0, 1], 2)  # every setting is valid, no two runs are the same
    assert len({j.key for j in jobs}) == len({j.name for j in jobs}) == 2 * len(study.cases)
    assert f"{len(jobs)} runs, 0 failed" in method(study, [0, 1], 0)  # else a study fails when all its runs are done
    controls = [c for c in study.cases if study.control == c.condition or study.baseline == c.algorithm]
    assert controls and all(is_public(j.corpus) for j in jobs)
    assert all(study.control_of(c) is None for c in controls if c.algorithm == controls[0].algorithm)


@pytest.mark.slow
@pytest.mark.flower
@pytest.mark.parametrize("name", scenario_names())
def test_every_study_runs_with_two_tiny_seeds(name: str, tmp_path: Path) -> None:
    study = tiny(load_scenario(name).study(Options(quick=True)))
    report = Runner(study, [0, 1], tmp_path, engine=SharedEngine(tmp_path, 2)).run()
    content = json.loads((tmp_path / "study.json").read_text())
    assert content["failed"] == {} and len(content["runs"]) == 4
    first = [run for run in content["runs"] if run["condition"] == study.cases[0].condition]
    missing = {metric for run in first for metric in study.table if run["figures"].get(metric) is None}
    assert missing <= {"tokens_per_second"}  # which leaves out the first round, and there is one
    drawn = {
        "line": ("level", "difference"),
        "difference": ("difference",),
        "spread": ("clients",),
        "trade": ("trade",),
    }
    names = {
        f"{kind}-{f.metric}{f.against and '-' + f.against}" for f in study.figures for kind in drawn.get(f.kind, ())
    }
    assert names <= {file.stem for file in (tmp_path / "paper").glob("*.pdf")}
    assert study.question.replace("'", "&#39;") in report.read_text()
