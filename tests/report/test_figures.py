"""What the figures of a study draw: numbers worked out by hand, looks that stay the same, and nothing that is clipped."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from fedlm.report.paper.canvas import NARROW, Draw, drawn
from fedlm.report.paper.captions import counted
from fedlm.report.paper.curves import curves_of
from fedlm.report.paper.figures import Made, figures_of
from fedlm.report.paper.looks import looks
from fedlm.report.plots import curve, histogram
from scenarios.runner.design import Contrast, Figure, Trend
from scenarios.runner.study import Case
from tests.support.made_study import content_of, record

ODD = [math.nan, math.inf, -math.inf]
# Student's t(0.975, 2) of three seeds; three values a, b, c with mean m have s^2 = sum (v - m)^2 / 2.
T2 = 4.302652729696142
CASES = (Case("even"), Case("skewed"), Case("other"))
VALUES = ((2.0, 2.2, 2.1), (2.3, 2.4, 2.5), (2.0, 2.4, 2.2))


def results(cases: Sequence[Case], values: Sequence[Sequence[float]], **more: float) -> list[Any]:
    """Returns a run for each value of a case, with the seeds 0, 1, ..."""
    pairs = zip(cases, values, strict=True)
    return [record(c, seed, bits_per_char=v, **more) for c, own in pairs for seed, v in enumerate(own)]


def made_of(
    content: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]] = (), clients: Sequence[Any] = ()
) -> dict[str, Made]:
    return {each.name: each for each in figures_of(content, clients, rounds)}


def artists(draw: Draw, gid: str, width: float = NARROW) -> list[tuple[list[float], list[float]]]:
    """Returns the data of the lines of a figure that are marked so, as x and y."""
    from matplotlib.lines import Line2D

    with drawn(draw, width) as figure:
        lines = [line for line in figure.findobj(Line2D) if line.get_gid() == gid]
        return [(list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))) for line in lines]


def test_differences_and_their_paired_intervals_by_hand() -> None:
    content = content_of(results(CASES, VALUES), cases=CASES)
    draw = made_of(content)["difference-bits_per_char"].draw
    # skewed - even: 0.3, 0.2, 0.4: mean 0.3, s = 0.1. other - even: 0, 0.2, 0.1: mean 0.1, s = 0.1.
    half = T2 * 0.1 / math.sqrt(3)
    means = artists(draw, "mean")
    assert [x for xs, _ in means for x in xs] == pytest.approx([0.3, 0.1])
    assert [y for _, ys in means for y in ys] == [0, 1]  # one below the other: categories have no line between them
    assert [x for xs, _ in artists(draw, "interval") for x in xs] == pytest.approx(
        [0.3 - half, 0.3 + half, 0.1 - half, 0.1 + half]
    )
    assert [x for xs, _ in artists(draw, "seeds") for x in xs] == pytest.approx([0.3, 0.2, 0.4, 0.0, 0.2, 0.1])
    assert artists(draw, "zero") and not artists(draw, "line")


def test_levels_have_no_interval() -> None:
    content = content_of(results(CASES, VALUES), cases=CASES)
    draw = made_of(content)["level-bits_per_char"].draw
    assert [x for xs, _ in artists(draw, "mean") for x in xs] == pytest.approx([2.1, 2.4, 2.2])
    assert not artists(draw, "interval") and not artists(draw, "zero")


def test_numbers_are_joined_and_what_has_no_number_stands_beside_them() -> None:
    cases = (Case("a", x=0.0), Case("b", x=0.5), Case("c", x=2.0), Case("ceiling", algorithm="centralised"))
    values = ((2.0, 2.2), (2.5, 2.3), (3.0, 3.2), (1.0, 1.2))
    content = content_of(results(cases, values), cases=cases, control="a", contrasts=(Trend("bits_per_char"),))
    made = made_of(content)
    assert artists(made["level-bits_per_char"].draw, "line") == [([0.0, 0.5, 2.0], pytest.approx([2.1, 2.4, 3.1]))]
    [(x, y)] = artists(made["difference-bits_per_char"].draw, "line")
    assert x == [0.0, 0.5, 2.0] and y == pytest.approx([0.0, 0.3, 1.0])  # the control is 0 by definition
    # Slopes: x - mean = -5/6, -1/3, 7/6, squares 13/6. Times the length 2: seed 0 (-5/6 2 - 1/3 2.5 + 7/6 3) 2 / (13/6),
    # seed 1 (-5/6 2.2 - 1/3 2.3 + 7/6 3.2) 2 / (13/6).
    trend = [2 / (13 / 6) * (-5 / 6 * a - b / 3 + 7 / 6 * c) for a, b, c in ((2.0, 2.5, 3.0), (2.2, 2.3, 3.2))]
    means = [y for _, ys in artists(made["difference-bits_per_char"].draw, "mean") for y in ys]
    assert means[-2:] == pytest.approx([-1.0, sum(trend) / 2])  # the ceiling, then the trend
    assert "C1: trend over" in made["difference-bits_per_char"].caption


def test_primary_contrasts_are_filled_and_all_others_open() -> None:
    from matplotlib.colors import same_color
    from matplotlib.lines import Line2D

    contrasts = (Contrast("bits_per_char", "skewed", "even"), Contrast("bits_per_char", "other", "skewed"))
    content = content_of(results(CASES, VALUES), cases=CASES, contrasts=contrasts)
    made = made_of(content)["difference-bits_per_char"]
    with drawn(made.draw, NARROW) as figure:
        means = [line for line in figure.findobj(Line2D) if line.get_gid() == "mean"]
        filled = [not same_color(line.get_markerfacecolor(), "white") for line in means]
    assert filled == [True, False, True]  # skewed, other, and the contrast that is not with the control
    assert "C2: other against skewed (FedAvg)" in made.caption and "C1:" not in made.caption
    assert "which alone have a verdict" in made.caption and "0.02" in made.caption


def test_an_interval_that_would_hide_the_rest_is_cut_and_marked() -> None:
    cases = (Case("even"), Case("skewed"))
    values = ((2.0, 2.0), (2.0, 3.0))  # t(0.975, 1) = 12.7: from -5.9 to 6.9
    made = made_of(content_of(results(cases, values), cases=cases))["difference-bits_per_char"]
    [((low, high), _)] = artists(made.draw, "interval")
    assert -2 < low < 0 < 1 < high < 3 and len(artists(made.draw, "cut")) == 2
    assert "the interval goes on" in made.caption


ROUNDS = [
    {"condition": c, "algorithm": "FedAvg", "seed": s, "round": r, "metric": "bits_per_char", "value": v + s / 10}
    for c, values in {"even": (9.0, 3.0, 2.0), "skewed": (9.0, 3.5, 3.0)}.items()
    for r, v in zip((0, 5, 10), values, strict=True)
    for s in range(3)
]


def test_learning_curves_by_hand() -> None:
    curves = curves_of(ROUNDS, "bits_per_char")
    curve_of_even = curves["even", "FedAvg"]
    assert curve_of_even.rounds == (5, 10)  # without the untrained model
    assert curve_of_even.mean == pytest.approx((3.1, 2.1))  # 3.0, 3.1, 3.2
    assert curve_of_even.high == pytest.approx((3.1 + T2 * 0.1 / math.sqrt(3), 2.1 + T2 * 0.1 / math.sqrt(3)))
    content = content_of(results(CASES[:2], VALUES[:2]), cases=CASES[:2])
    made = made_of(content, ROUNDS)["curve-bits_per_char"]
    assert artists(made.draw, "mean") == [
        ([5.0, 10.0], pytest.approx([3.1, 2.1])),
        ([5.0, 10.0], pytest.approx([3.6, 3.1])),
    ]
    assert "n = 3 seeds" in made.caption and "band: 95 % t-interval over seeds" in made.caption


def test_two_seeds_have_lines_and_no_band() -> None:
    rounds = [r for r in ROUNDS if r["seed"] < 2]
    content = content_of(results(CASES[:2], ((2.0, 2.1), (3.0, 3.1))), cases=CASES[:2])
    made = made_of(content, rounds)["curve-bits_per_char"]
    assert len(artists(made.draw, "seed")) == 4 and "band" not in made.caption
    assert "curve-bits_per_char" not in made_of(
        content, [r for r in rounds if r["round"] < 10]
    )  # one round is no curve


def test_reference_levels_are_drawn() -> None:
    same = content_of(results(CASES[:2], VALUES[:2], **{"5-gram": 1.5}), cases=CASES[:2])
    made = made_of(same)["level-bits_per_char"]
    assert [x for x, _ in artists(made.draw, "reference")] == [[1.5, 1.5]]
    assert "Dashed: loss of the 5-gram" in made.caption
    own = [record(c, 0, bits_per_char=2.0, **{"5-gram": g}) for c, g in zip(CASES[:2], (1.5, 1.7), strict=True)]
    drawn_levels = artists(made_of(content_of(own, cases=CASES[:2]))["level-bits_per_char"].draw, "reference")
    assert [x[0] for x, _ in drawn_levels] == [1.5, 1.7]  # each across its own row


def test_distributions_over_clients_by_hand() -> None:
    rows = [
        {"condition": "even", "algorithm": "FedAvg", "metric": "bits_per_char", "value": v}
        for v in (*range(101), *ODD)  # percentiles of 0 to 100 are themselves
    ]
    figures = (Figure("spread", "bits_per_char"),)
    content = content_of(results(CASES[:1], ((2.0, 2.0),)), cases=CASES[:1], figures=figures)
    made = made_of(content, clients=rows)["clients-bits_per_char"]
    assert [artists(made.draw, gid)[0][0] for gid in ("mean", "quartiles", "interval")] == [[50], [25, 75], [5, 95]]
    assert "n = 101 clients" in made.caption


def test_no_colour_or_marker_is_used_twice() -> None:
    own = list(looks([{"condition": "a", "algorithm": f"algorithm {i}"} for i in range(156)]).of.values())
    assert len({look.colour for look in own[:12]}) == len({look.marker for look in own[:12]}) == 12
    assert len({(look.colour, look.marker) for look in own}) == 156


def test_looks_stay_the_same_in_all_figures_and_when_runs_fail() -> None:
    from matplotlib.lines import Line2D

    cases = tuple(Case(c, algorithm=a) for c in ("one", "two") for a in ("A", "B", "C"))
    done = [case for case in cases if case.algorithm != "A"]
    without = content_of(results(done, [(2.0 + i, 2.1 + i) for i in range(len(done))]), cases=cases, control="one")
    for made in made_of(without).values():
        with drawn(made.draw, NARROW) as figure:
            seen = {
                (line.get_color(), line.get_marker()) for line in figure.findobj(Line2D) if line.get_gid() == "mean"
            }
        assert seen == {("#D55E00", "s"), ("#009E73", "D")}


def test_a_study_without_results_has_no_figures(recwarn: pytest.WarningsRecorder) -> None:
    content = content_of([], cases=CASES, contrasts=(Contrast("bits_per_char", "skewed", "even"),))
    assert made_of(content) == {} and not list(recwarn)


def test_a_seed_whose_run_failed_has_no_difference() -> None:
    records = results(CASES[:2], ((2.0, 2.2, 2.1), (2.3, math.nan, 2.5)))
    made = made_of(content_of(records, cases=CASES[:2]))["difference-bits_per_char"]
    assert [x for xs, _ in artists(made.draw, "seeds") for x in xs] == pytest.approx([0.3, 0.4])
    assert "n = 2 paired seeds" in made.caption
    assert counted([1, 3], "seed") == "1 to 3 seeds"


def test_plots_of_a_run_show_what_is_finite() -> None:
    assert histogram("h", [1.0, *ODD, 2.0], "bits") == histogram("h", [1.0, 2.0], "bits")
    assert curve("c", [1, 2, 3, 4, 5], [1.0, *ODD, 2.0], "bits") == curve("c", [1, 5], [1.0, 2.0], "bits")
    assert "<svg" in histogram("h", ODD, "bits").svg and "<svg" in curve("c", [1, 2, 3], ODD, "bits").svg
