"""Wrong names in a study are refused before its first run; wrong values of a measure fail the run by name."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedlm.errors import ConfigError, FedLMError
from fedlm.measure.checks import checked_figures
from fedlm.measure.metric import Measure, Metric, RunEvidence
from scenarios.runner.checks import check_design
from scenarios.runner.metrics import CLIENT_METRICS, Profile, client_sums, run_metrics
from scenarios.runner.runner import Runner
from scenarios.runner.study import Case, Figure, Study
from scenarios.runner.table import table
from scenarios.runner.wording import answers
from tests.scenarios.test_metrics import HELD_OUT, PROFILE
from tests.support.made_study import made, record
from tests.support.running import fedlm
from tests.support.tiny_study import SharedEngine
from tests.support.toys import toy_study

OWN = Metric("own", "my figure")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"control": "evne"}, "the control 'evne'; its conditions are: even, skewed"),
        ({"control": ""}, "the control ''; its conditions"),
        ({"control": "", "baseline": "SGD"}, "the baseline 'SGD'; its algorithms are: FedAvg"),
        ({"cases": ()}, "has no cases"),
        ({"cases": (Case("even"), Case("even"))}, "same condition and algorithm"),
        ({"table": ()}, "no metric for its table"),
        (
            {"table": ("bits_per_chr",)},
            r"an unknown metric 'bits_per_chr' in the table .did you mean 'bits_per_char'.*known are: .*, bias, .*, loss, .*\.",
        ),
        ({"table": ("group:",)}, "metric 'group:' in the table.*group:NAME"),
        ({"table": ("bits_per_char:a",)}, "metric 'bits_per_char:a' in the table"),
        ({"figures": (Figure("line", "wrst_tenth"),)}, "metric 'wrst_tenth' in a figure .did you mean 'worst_tenth'"),
        ({"figures": (Figure("trade", "loss", "epsilon"),)}, "metric 'epsilon' in a figure"),
        ({"figures": (Figure("trade", "loss"),)}, "lacks `against`"),
        ({"figures": (Figure("line", "loss", "accuracy"),)}, "only a trade figure"),
        ({"figures": (Figure("spread", "worst_tenth"),)}, "metrics of single clients are: bits_per_char, equal_bits"),
        (
            {"figures": (Figure("pie", "loss"),)},
            "'pie'; its kinds of figures are: line, difference, curve, spread, trade",
        ),  # type: ignore[arg-type]
        ({"cases": (Case("even", sampling="often"),)}, "'often'; choose one of: available, dropout"),
        ({"cases": (Case("even", sampling="dropout(share=0.5)"),)}, "does not fit; its options are: rate, by_size"),
        ({"cases": (Case("even", sampling="dropout"),)}, "its options are: rate, by_size"),
        ({"measures": (Measure((Metric("loss", "mine"),), lambda run: {}),)}, "'loss', which is one of fedlm"),
    ],
)
def test_a_wrong_name_is_refused_before_the_first_run(wrong: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"mine.py .*{says}|{says}") as caught:
        check_design(made(**wrong), "mine.py")
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2
    with pytest.raises(ConfigError, match=says):
        Runner(made(**wrong), [0], tmp_path / "study").run()
    assert not (tmp_path / "study").exists()


def test_what_exists_is_accepted() -> None:
    own = Measure((OWN, Metric("own:", "my figure of {}")), lambda run: {})
    figures = (Figure("trade", "own", "group:b"), *(Figure("spread", name) for name in CLIENT_METRICS))
    cases = (Case("even", sampling="balanced"), Case("skewed", sampling="dropout(rate=0.4)"))
    check_design(made(measures=(own,), table=("own:x", "label_entropy:play"), figures=figures, cases=cases), "mine.py")


@pytest.mark.parametrize(
    ("right", "wrong"), [('control="1 rounds"', 'control="one"'), ('("line", "toy_above', '("line", "toy_over')]
)
def test_the_command_names_the_file_and_ends_with_2(right: str, wrong: str, tmp_path: Path) -> None:
    text = Path(str(toy_study.__file__)).read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(text.replace(right, wrong), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.py"):
        Study.load(tmp_path / "mine.py")
    done = fedlm("study", "mine.py", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "mine.py names " in done.stderr
    assert not (tmp_path / "runs").exists()


def named(run: RunEvidence) -> dict[str, float]:
    raise NotImplementedError


FAMILY = Measure((OWN, Metric("part:", "part {}"), Metric("rare", "rare figure", optional=True)), named)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"own": 1.0, "onw": 2.0}, "'onw', which it does not declare; its metrics are: own, part:, rare"),
        ({"own": 1.0, "part:": 2.0}, "'part:', which it does not declare"),
        ({"own": 1.0, 3: 2.0}, "3, which it does not declare"),
        ({}, "returned no value for own: "),
        ({"rare": 1.0}, "returned no value for own: "),
        ({"own": math.nan}, "nan for 'own'; a value must be finite"),
        ({"own": 1.0, "rare": -math.inf}, "-inf for 'rare'"),
        ({"own": "a text of a client"}, "returned str for 'own'; a value must be a number"),
        ({"own": None}, "returned NoneType for 'own'"),
        (None, "returned NoneType; it must return"),
        ([1.0], "returned list; it must return"),
    ],
)
def test_a_measure_of_a_study_returns_what_it_declares(found: object, says: str) -> None:
    with pytest.raises(FedLMError, match=says) as caught:
        checked_figures(FAMILY, found, complete=True)
    assert "The measure tests.scenarios.test_checks.named returned" in str(caught.value)
    assert "a text" not in str(caught.value) and caught.value.exit_code == 4


def test_values_become_floats_and_optional_metrics_may_be_omitted() -> None:
    found = checked_figures(FAMILY, {"own": np.float32(0.5), "part:a": 2}, complete=True)
    assert found == {"own": 0.5, "part:a": 2.0} and all(type(v) is float for v in found.values())
    assert checked_figures(FAMILY, {}, complete=False) == {}  # a measure that every run gets
    with pytest.raises(FedLMError, match="does not declare"):
        checked_figures(FAMILY, {"onw": 1.0}, complete=False)


def test_the_measures_of_a_run_are_checked() -> None:
    run = RunEvidence(client_sums(PROFILE, HELD_OUT, {}, {}))
    assert run_metrics(run, PROFILE, (Measure((OWN,), lambda _: {"own": 1}),)).figures["own"] == 1.0
    for returned, says in (({"own": math.inf}, "inf for 'own'"), ({}, "no value for own"), ({"own": 1, "o": 1}, "'o'")):
        with pytest.raises(FedLMError, match=says):
            run_metrics(run, PROFILE, (Measure((OWN,), lambda _, r=returned: r),))  # type: ignore[misc]
    empty = run_metrics(RunEvidence(), Profile({}, {}, {}))
    assert math.isnan(empty.figures["bits_per_char"])


def test_a_metric_of_the_table_that_no_run_defines_is_said() -> None:
    study = made(table=("bits_per_char", "minority"))
    records = [record(case, seed, bits_per_char=2.0 + seed) for case in study.cases for seed in (0, 1, 2)]
    said = answers(study, [], table(study, records))
    assert said[-1] == "No run defines loss of the minority (bits per character)."
    known = replace(study, table=("bits_per_char",))
    assert not any("No run" in sentence for sentence in answers(known, [], table(known, records)))


@pytest.mark.slow
@pytest.mark.flower
def test_a_wrong_value_fails_its_run_by_name(tmp_path: Path) -> None:
    def undefined_later(run: RunEvidence) -> dict[str, float]:
        return {"own": math.nan if run.seed else 1.0}

    study = made(cases=(Case("even"),), table=("bits_per_char", "own"), measures=(Measure((OWN,), undefined_later),))
    said: list[str] = []
    Runner(study, [0, 1], tmp_path, said.append, engine=SharedEngine(tmp_path, 2)).run()
    content = json.loads((tmp_path / "study.json").read_text())
    (failure,) = content["failed"].values()
    assert "undefined_later returned nan for 'own'; a value must be finite." in failure and f": {failure}" in said[-1]
    assert [run["figures"]["own"] for run in content["runs"]] == [1.0]
