"""Primary contrasts: the question decides what is answered, seeds decide how much, and a failed run is never dropped."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from fedlm.errors import ConfigError
from fedlm.measure.metric import Better, Measure, Metric
from fedlm.report.study import write_study_report
from fedlm.system.figures_json import plain
from scenarios.runner.checks import check_design
from scenarios.runner.output import Ended, write_results
from scenarios.runner.primary import Primary, primaries
from scenarios.runner.record import RunRecord
from scenarios.runner.study import Case, Contrast, Study, StudyResult, Trend
from scenarios.runner.table import table
from scenarios.runner.wording import answers, method
from tests.support.made_study import made, record

SKEWED = Contrast("bits_per_char", "skewed", "even")
NOISE = (0.0, 0.001, -0.001, 0.002, -0.002, 0.001, 0.0, -0.001, 0.003, -0.003)


def results(study: Study, effects: Mapping[int, float]) -> list[RunRecord]:
    """Returns results whose seeds differ by 1 bit each, much more than the conditions do."""
    even, skewed = study.cases
    found = [record(even, s, bits_per_char=2.0 + s) for s in effects]
    return found + [record(skewed, s, bits_per_char=2.0 + s + effect) for s, effect in effects.items()]


def contrast_of(effects: Mapping[int, float], **more: object) -> tuple[Primary, str]:
    """Returns the contrast of made results, and its sentence."""
    study = made(contrasts=(SKEWED,), **more)
    (found,) = primaries(study, list(effects), results(study, effects))
    (sentence,) = answers(study, [found], table(study, results(study, effects)))
    return found, sentence


def seeds(effect: float, count: int = 10) -> dict[int, float]:
    return {s: effect + NOISE[s] for s in range(count)}


def test_the_answer_says_what_was_found_and_how_it_was_tested() -> None:
    found, sentence = contrast_of(seeds(0.3))
    assert found.decision.p == pytest.approx(2 / 2**10) and list(found.differences) == list(range(10))
    assert sentence == (
        "Held-out loss (bits per character), skewed against even (FedAvg): +0.300 (95 % t-interval +0.299 to +0.301) over 10 "
        "paired seeds. Significant: higher, which is worse (p = 0.002)."
    )
    _, sentence = contrast_of(seeds(-0.01))
    assert (
        "Significant, below the margin: lower, which is better (p = 0.002), by less than 0.02 (p = below 0.001)"
        in sentence
    )
    _, sentence = contrast_of(seeds(0.0))
    assert sentence.endswith("Equivalent: the two differ by less than 0.02 (p = below 0.001).")
    _, sentence = contrast_of({s: 30 * x for s, x in seeds(0.0).items()})
    assert re.search(
        r"Not decided \(p = 1\.000\): a difference of 0\.0\d\d would have been found with probab", sentence
    )


def test_few_seeds_decide_nothing() -> None:
    for count in (2, 3, 5):
        found, sentence = contrast_of(seeds(5.0, count))
        assert found.decision.verdict.value == "not decided"
        assert sentence.endswith(f"Not decided: {count} seeds are too few, nothing can be significant below 6.")
    _, sentence = contrast_of(seeds(5.0, 1))
    assert "1 paired seed." in sentence and "nan" not in sentence and "1 seed is too few" in sentence
    found, _ = contrast_of(seeds(5.0, 6))
    assert found.decision.verdict.value == "significant"
    both = made(contrasts=(SKEWED, Contrast("accuracy", "skewed", "even")))
    decided = primaries(both, range(6), results(both, seeds(5.0, 6)))
    assert decided[0].decision.verdict.value == "not decided" and "below 7" in decided[0].to_json()["sentence"]


def test_no_other_difference_gets_a_verdict() -> None:
    study = made()
    rows = table(study, results(study, seeds(5.0)))
    assert answers(study, [], rows) == [
        "The study declares no primary contrast, so it answers nothing; its figures are descriptive."
    ]
    assert "primary" not in method(study, range(10), 0)


@pytest.mark.parametrize("lost", [math.nan, math.inf, None])
def test_a_failed_or_diverged_run_is_told_and_leaves_the_contrast_undecided(lost: float | None) -> None:
    study = made(contrasts=(SKEWED,))
    records = results(study, seeds(0.3))
    own = [r for r in records if (r.condition, r.seed) != ("skewed", 4)]
    if lost is not None:
        own.append(record(study.cases[1], 4, bits_per_char=lost))
    (found,) = primaries(study, range(10), own)
    assert found.missing == {4: "skewed, FedAvg"} and found.decision.verdict.value == "not decided"
    assert found.decision.interval.mean == pytest.approx(0.3, abs=0.01) and math.isnan(found.decision.p_holm)
    (sentence,) = answers(study, [found], table(study, own))
    assert (
        "over 9 paired seeds. Not decided. Runs without a finite figure" in sentence
        and "(seed 4: skewed, F" in sentence
    )
    assert table(study, own)[1].cells["bits_per_char"].count == 9
    (nothing,) = primaries(study, range(10), [])
    assert "no seed has all of its runs" in nothing.to_json()["sentence"] and len(nothing.missing) == 10


def test_the_verdict_follows_what_is_better_and_the_margin_of_the_metric() -> None:
    directions = {
        Better.LOWER: "higher, which is worse",
        Better.HIGHER: "higher, which is better",
        Better.NEITHER: "higher (",
    }
    for better, word in directions.items():
        own = Measure((Metric("own", "own figure", "units", better, margin=2.0),), lambda run: {})
        study = made(table=("own",), measures=(own,), contrasts=(Contrast("own", "skewed", "even"),))
        records = [
            record(c, s, own=1.0 + NOISE[s] * (i + 1) + (c.condition == "skewed"))
            for i, c in enumerate(study.cases)
            for s in range(10)
        ]
        (found,) = primaries(study, range(10), records)
        assert found.decision.margin == 2 and word in found.to_json()["sentence"]
        assert found.decision.verdict.value == "significant, below the margin"
        stricter = made(table=("own",), measures=(own,), contrasts=study.contrasts, margins={"own": 0.5})
        assert primaries(stricter, range(10), records)[0].decision.verdict.value == "significant"


def test_a_trend_is_the_slope_of_each_seed() -> None:
    cases = tuple(Case(f"x {x:g}", {"rounds": i + 1}, x=x) for i, x in enumerate((0.0, 0.5, 2.0)))
    study = made(cases=cases, control="x 0", contrasts=(Trend("bits_per_char"),), x_label="axis")
    records = [record(c, s, bits_per_char=5.0 + 10 * s + (0.1 + s / 100) * (c.x or 0)) for c in cases for s in range(6)]
    (found,) = primaries(study, range(6), records)
    assert list(found.differences.values()) == pytest.approx([2 * (0.1 + s / 100) for s in range(6)])  # slope x length
    assert found.name == "trend over axis, x 0 to x 2 (FedAvg)" and found.decision.verdict.value == "significant"
    # By hand: x - 5/6 = (-5/6, -1/3, 7/6), squares add up to 13/6; y = (1, 0, 0) has the slope -5/13
    lone = [record(c, 0, bits_per_char=float(c is cases[0])) for c in cases]
    assert primaries(study, [0], lone)[0].differences[0] == pytest.approx(-5 / 13 * 2)
    (cut,) = primaries(study, range(6), records[:-1])
    assert cut.missing == {5: "x 2, FedAvg"}
    ends = made(cases=cases, control="x 0", contrasts=(Trend("bits_per_char", conditions=("x 0", "x 2")),))
    assert primaries(ends, range(6), records)[0].differences[3] == pytest.approx(0.26)


def test_algorithms_of_a_contrast() -> None:
    cases = tuple(Case("even", {"rounds": i}, name) for i, name in enumerate(("FedAvg", "FedProx"), 1))
    study = made(cases=cases, contrasts=(Contrast("bits_per_char", "even", "even", "FedProx", "FedAvg"),))
    (found,) = primaries(study, [0], [record(c, 0, bits_per_char=len(c.algorithm)) for c in cases])
    assert found.differences == {0: 1.0} and found.name == "even (FedProx) against even (FedAvg)"


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"contrasts": (SKEWED,) * 3}, "has 3 primary contrasts; declare one or two"),
        ({"contrasts": (Contrast("bits_per_chr", "skewed", "even"),)}, "did you mean 'bits_per_char'"),
        ({"contrasts": (Contrast("bits_per_char", "skewed", "evn"),)}, "names no case, 'evn'; known are: even, FedAvg"),
        ({"contrasts": (Contrast("bits_per_char", "skewed", "even", "FedProx"),)}, "no case, 'skewed, FedProx'"),
        ({"contrasts": (Contrast("bits_per_char", "even", "even"),)}, "compares 'even' with itself"),
        ({"contrasts": (Trend("bits_per_char"),)}, "has 0 places on the axis; it needs two"),
        ({"margins": {"bits_per_char": 0.0}}, "is 0.0; it must be above 0"),
        ({"margins": {"bits_per_char": math.nan}}, "is nan; it must be above 0"),
        ({"margins": {"nothing": 1.0}}, "unknown metric 'nothing'"),
        ({"seeds": 0}, "has 0 seeds"),
    ],
)
def test_a_wrong_declaration_is_one_sentence_before_the_first_run(declared: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        check_design(made(**declared), "made")


def test_report_and_table_hold_the_contrasts_and_mark_nothing_else(tmp_path: Path) -> None:
    study = made(contrasts=(SKEWED, Contrast("accuracy", "skewed", "even")))
    records = [r for r in results(study, seeds(0.3)) if (r.condition, r.seed) != ("even", 2)]
    write_results(Ended(study, range(10), records, {"even-2": "lost"}, "fedlm study made", 1.0), tmp_path)
    page = write_study_report(tmp_path).read_text()
    assert "Primary contrasts" in page and "corrected by Holm" in page and "(9 of 10 seeds)" in page
    assert "seed 2: even, FedAvg" in page and "no significance test" not in page
    for gone in ("range over seeds", "clear", 'class="marked"', "Cohen", "<strong"):
        assert gone not in page
    # the figures' captions
    assert "n = 9 paired seeds (fewer than all where runs failed" in page and "95 % paired t-intervals" in page
    content = json.loads((tmp_path / "study.json").read_text())
    assert json.dumps(plain(content), allow_nan=False) and content["declared_seeds"] == 10
    frame = StudyResult(tmp_path).contrasts
    assert list(frame["verdict"]) == ["not decided"] * 2 and frame["count"][0] == 9
    assert "7 seeds no contrast can be significant" in content["method"]


def test_the_method_says_where_a_seed_does_not_pair_two_runs() -> None:
    private: dict[str, object] = {
        "mechanism": "gaussian",
        "clip_norm": 1.0,
        "sampling_rate": 0.5,
        "weighting": "uniform",
        "max_client_tokens": 1000,
    }
    words = "cohorts and noise are drawn anew in every run"
    for more, unpaired in (({}, True), ({"reproducible": True}, False)):
        study = made(cases=(Case("even"), Case("skewed", private | more)), contrasts=(SKEWED,))
        assert (words in method(study, range(10), 0)) == unpaired
    assert words not in method(made(), range(10), 0)
    assert "the study declares 10" in method(made(), range(3), 0)


def test_a_metric_that_goes_is_still_read_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match="'group_gap' in the table .* name 'minority_gap'"):
        check_design(made(table=("group_gap",)), "made")
