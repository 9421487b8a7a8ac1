"""From results to tables and sentences: differences are paired, words say what the seeds say, and the rest is NaN-proof."""

import json
import math
from collections.abc import Mapping

import pytest

from fedlm.report.paper.trade import front
from fedlm.system.figures_json import plain
from scenarios.runner.record import RunRecord
from scenarios.runner.study import Case, Study
from scenarios.runner.table import data_table, deals_anew, further_metrics, table, with_central_gap
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
    assert difference is not None and difference.mean == pytest.approx(0.304) and difference.count == 5
    assert difference.high - difference.low < 0.02 < rows[1].cells["bits_per_char"].high - 4  # paired, seeds cancel out
    assert rows[0].control and rows[0].cells["bits_per_char"].difference is None


def test_figures_over_clients_have_intervals_over_seeds_and_clients() -> None:
    for partition, crossed in (("", True), ("iid(num_partitions=4)", False)):
        settings = {"partition": partition} if partition else {}
        study = made(table=("worst_tenth",), cases=(Case("even", settings), Case("skewed", settings)))
        records = [record(study.cases[0], s, worst_tenth=2.3, bits_per_char=2.0) for s in range(4)]
        assert deals_anew(study, study.cases[0]) is not crossed
        cell = table(study, records)[0].cells["worst_tenth"]
        # Clients at 2.0, 2.1, 2.2, 2.3: a crossed resample misses the worst in 0.75**4 = 32 % of the draws
        assert cell.mean == 2.3 and cell.clients == 4 and cell.high == pytest.approx(2.3)
        assert cell.low == pytest.approx(2.1) if crossed else 2.1 < cell.low < 2.3


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
