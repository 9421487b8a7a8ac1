"""Labels of figures: all of them visible, none over another, whatever the names are."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from fedlm.measure.registry import known_metrics
from fedlm.report.paper.beside import spread_out
from fedlm.report.paper.canvas import NARROW, WIDE, Draw, drawn, lines_of, width_of
from scenarios.runner.design import Figure
from scenarios.runner.study import Case
from tests.report.test_figures import CASES, VALUES, made_of, results
from tests.support.made_study import content_of


def texts(draw: Draw, width: float) -> list[tuple[str, Any, bool]]:
    """Returns the visible texts of a figure, their boxes, and whether they lie within it."""
    from matplotlib.text import Text

    with drawn(draw, width) as figure:
        figure.draw_without_rendering()
        shown = [t for t in figure.findobj(Text) if t.get_visible() and any(c.isalnum() for c in t.get_text())]
        page, found = figure.bbox.padded(1), []
        for text in shown:
            box = Text.get_window_extent(text)  # of an annotation without its line
            inside = page.contains(box.x0, box.y0) and page.contains(box.x1, box.y1)
            found.append((text.get_text(), box, inside))
        return found


def unfit(shown: Sequence[tuple[str, Any, bool]]) -> list[str]:
    """Returns the texts that are clipped, and pairs of names that overlap."""
    found = [t for t in shown if any(c.isalpha() for c in t[0])]  # ticks beyond the limits are not drawn
    pairs = [(a, b) for i, (a, p, _) in enumerate(found) for b, q, _ in found[i + 1 :] if a != b and overlap(p, q)]
    return [t for t, _, inside in found if not inside] + [f"{a} over {b}" for a, b in pairs]


def overlap(first: Any, second: Any) -> bool:
    across = min(first.x1, second.x1) - max(first.x0, second.x0)
    return bool(across > 2 and min(first.y1, second.y1) - max(first.y0, second.y0) > 2)


LONG = (
    "FedAvg, 5 local epochs",
    "FedAvgM(server_momentum=0.7) with capped weights",
    "Donaudampfschifffahrtsgesellschaftskapitänsmützenband",
)
HOSTILE = (r"\input{/etc/passwd} $\frac$ 5 % & <b>", "\x1b[31m\x00\u202eabc\n\n", "漢字 ε ± 𝔘", "")
TITLES = sorted(
    {m.title.format("a label of some length") for m in known_metrics().values()}, key=lambda t: (len(t), t)
)[-2:]


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("x", [None, 1.0])
@pytest.mark.parametrize(
    "names", [LONG, HOSTILE, tuple(f"algorithm {i}" for i in range(9))], ids=["long", "hostile", "many"]
)
def test_every_label_is_visible_and_none_is_over_another(names: Sequence[str], x: float | None, width: float) -> None:
    conditions = ("IID", "claimed 2, clip missing at 5 %")
    cases = tuple(Case(c, algorithm=a, x=x and x * i) for i, c in enumerate(conditions) for a in names)
    values = [(2.0 + i / 7, 2.1 + i / 5) for i in range(len(cases))]
    figures = (
        Figure("line", "bits_per_char"),
        Figure("spread", "bits_per_char"),
        Figure("trade", "bits_per_char", "accuracy"),
    )
    records = results(cases, values, accuracy=0.5, **{"5-gram": 2.0})
    content = content_of(
        records, cases=cases, control="IID", figures=figures, x_label="Gini coefficient of client sizes"
    )
    clients = [
        {"condition": c.condition, "algorithm": c.algorithm, "metric": "bits_per_char", "value": 1.0} for c in cases
    ]
    rounds = [
        {**row, "metric": "bits_per_char", "seed": 0, "round": r, "value": 3 - r / 9} for row in clients for r in (1, 2)
    ]
    made = made_of(content, rounds, clients)
    assert len(made) == 5
    for each in made.values():
        shown = texts(each.draw, width)
        assert unfit(shown) == [], each.name
        words = " ".join(text for text, _, _ in shown).replace("\n", " ").replace("\u00a0", " ")
        assert all(word in words for word in ("claimed", "missing", "5 %")) or x, each.name


@pytest.mark.parametrize("title", TITLES)
def test_long_titles_fit(title: str) -> None:
    content = content_of(results(CASES, VALUES), cases=CASES)
    for column in (content["figures"][0]["metric"], *content["columns"]):
        column.update(label=title, unit="")
    for made in made_of(content).values():
        assert unfit(texts(made.draw, NARROW)) == []


def test_a_legend_has_eight_names_at_most() -> None:
    for number in (8, 9):
        cases = tuple(
            Case(c, algorithm=f"algorithm {i}", x=float(x)) for x, c in enumerate("ab") for i in range(number)
        )
        content = content_of(results(cases, [(2.0, 2.1)] * len(cases)), cases=cases, control="a")
        with drawn(made_of(content)["level-bits_per_char"].draw, NARROW) as figure:
            names = [t.get_text() for legend in figure.legends for t in legend.get_texts()]
        assert len(names) == (8 if number == 8 else 0)
        shown = [t for t, _, _ in texts(made_of(content)["level-bits_per_char"].draw, NARROW)]
        assert all(f"algorithm {i}" in shown for i in range(number))


def test_names_beside_points_do_not_overlap() -> None:
    places = spread_out([0.9, 0.5, 0.5, 0.5, 0.02, 0.01], [0.1] * 6)
    assert all(a - b >= 0.1 - 1e-9 for a, b in pairwise(places))
    assert places[0] == 0.9 and places[-1] >= 0.05 - 1e-9


@pytest.mark.parametrize("text", [*LONG, *HOSTILE, "a  b", "5 % of it"])
def test_lines_hold_all_visible_letters_and_fit(text: str) -> None:
    lines = lines_of(text, 0.8)
    assert all(width_of(line) <= 0.8 for line in lines)
    assert "\x1b" not in "".join(lines) and "\u202e" not in "".join(lines)
    if text in LONG:
        assert "".join("".join(lines).split()) == "".join(text.split())
