"""From results to tables and sentences: differences are paired, words say what the seeds say, and the rest is NaN-proof."""

import json
import math
from collections.abc import Mapping

import pytest

from fedlm.measure.metric import Better, Measure, Metric
from fedlm.report.figures import front
from scenarios.runner.record import RunRecord, plain
from scenarios.runner.study import Case, Study
from scenarios.runner.table import data_table, further_metrics, table, with_central_gap
from scenarios.runner.wording import answers, method
from tests.support.made_study import made, record


def with_effect(study: Study, effects: Mapping[int, float]) -> list[RunRecord]:
    """Returns results whose seeds differ by 1 bit each, much more than the conditions do."""
    even, skewed = study.cases
    found = [record(even, s, bits_per_char=2.0 + s) for s in effects]
    return found + [record(skewed, s, bits_per_char=2.0 + s + effect) for s, effect in effects.items()]


def test_differences_are_paired_by_seed_and_counted() -> None:
    study = made()
    rows = table(study, with_effect(study, {0: 0.3, 1: 0.31, 2: 0.3, 3: 0.31, 4: 0.3}))
    difference = rows[1].cells["bits_per_char"].difference
    assert difference is not None and difference.mean == pytest.approx(0.304)
    assert difference.excludes_zero and difference.same_sign == difference.count == 5
    assert rows[0].control and rows[0].cells["bits_per_char"].difference is None
    (sentence,) = answers(study, rows)
    assert sentence.endswith("worse in 5 of 5 seeds.") and "95 % bootstrap interval" in sentence


def test_sentences_never_say_more_than_the_seeds() -> None:
    study = made()
    undecided = table(study, with_effect(study, {0: 0.1, 1: -0.1, 2: 0.1, 3: -0.1, 4: 0.1}))
    assert answers(study, undecided)[0].endswith("not decided by 5 seeds.")
    three = answers(study, table(study, with_effect(study, {0: 0.1, 1: 0.2, 2: 0.3})))[0]
    assert "range over seeds +0.100 to +0.300" in three and "95 %" not in three  # three seeds give no 95 % interval
    two = answers(study, table(study, with_effect(study, {0: 0.1, 1: 0.2})))[0]
    assert two.endswith("2 seeds are too few to decide.")
    one = answers(study, table(study, with_effect(study, {0: 0.1})))[0]
    assert one.endswith("1 seed is too few to decide.")
    assert answers(study, table(study, [])) == [
        "No condition could be compared with the control; see the runs that failed."
    ]
    for sentence in (*answers(study, undecided), three, two, method(study, [0, 1, 2], 0)):
        assert "clear" not in sentence and "significant" not in sentence


def test_the_verdict_follows_what_is_better() -> None:
    directions = {Better.LOWER: "worse", Better.HIGHER: "better", Better.NEITHER: "higher"}
    for better, word in directions.items():
        own = Measure((Metric("own", "own figure", "units", better),), lambda run: {})
        study = made(table=("own",), measures=(own,))
        results = [record(c, s, own=1.0 + (c.condition == "skewed")) for c in study.cases for s in range(3)]
        (sentence,) = answers(study, table(study, results))
        assert f"; {word} in 3 of 3 seeds." in sentence and "own figure (units) 2.000 against 1.000" in sentence


def test_undefined_figures_are_left_out() -> None:
    study = made()
    even, skewed = study.cases
    records = [record(even, 0, bits_per_char=2.0), record(skewed, 0, bits_per_char=math.nan, accuracy=math.inf)]
    rows = table(study, records)
    assert [r.condition for r in rows] == ["even"]
    assert json.dumps(plain([r.to_json() for r in rows]), allow_nan=False)


def test_the_gap_to_centralised_training_is_over_the_same_text_and_seed() -> None:
    parts = ({"partition": "a"}, {"partition": "b"})
    ceiling = Case("centralised", parts[0], "centralised", centralised=True)
    cases = (Case("even", parts[0]), Case("skewed", parts[1]), ceiling)
    study = made(cases=cases)
    bits = {"even": (3.0, 4.0), "skewed": (2.0, 2.0), "centralised": (2.5, 3.0)}
    found = with_central_gap(study, [record(c, s, bits_per_char=bits[c.condition][s]) for c in cases for s in (0, 1)])
    assert [r.figures.get("central_gap") for r in found] == [0.5, 1.0, None, None, None, None]
    assert further_metrics(study, found) == ["central_gap"]
    means = [r.cells["central_gap"].mean if "central_gap" in r.cells else None for r in table(study, found)]
    assert means == [0.75, None, None]


def test_the_table_of_the_data_shows_labels_where_there_are_any() -> None:
    study = made()
    even, skewed = study.cases
    named = {"clients": 4.0, "label_entropy:play": 1.5}
    records = [record(even, 0, **named), record(skewed, 0, **{"clients": 4.0, "group:b": 1.0})]
    first, second = data_table(study, records)
    assert first == {"condition": "even", "clients": 4.0, "label_entropy:play": 1.5}
    assert "label_entropy:play" not in second and further_metrics(study, records) == ["group:b"]


def test_front_keeps_what_nothing_beats() -> None:
    assert front([(1.0, 1.0), (2.0, 2.0), (1.5, 3.0)], (True, False)) == [0, 2]
