"""Renders figures for papers and pages: sizes, fonts, and the same bytes for the same figures.

A page's SVG has its text as text and takes the page's own colours; files have outlined or embedded fonts, black on white.
"""

import io
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fedlm.report.plots import for_a_page
from fedlm.system.plotting import load_matplotlib

NARROW, WIDE = 3.3, 6.75  # inches: one column and two columns of a paper
SIZE = 7.5  # points, of all letters
LINE = SIZE * 1.25 / 72  # inches, from one line of text to the next
_INK, _PAPER = "#010203", "#fdfefd"  # in the SVG of a page replaced by the page's colours
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn")  # categories of Unicode
_MISSING = "Glyph .* missing from font"  # is a box in the files; the page and the tables have the letter
_DOTS = 300  # of a PNG to the inch
_BARE: dict[str, dict[str, str | None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}

Draw = Callable[[Any, float], float]
"""Fills an empty matplotlib figure of so many inches' width; returns the height in inches that each of its axes needs."""


@dataclass(frozen=True)
class Rendered:
    """A figure as files, by the ending of their names (`.pdf`, `-wide.pdf`), and as SVG for a page."""

    files: dict[str, bytes]
    page: str


def ink() -> str:
    """The colour of axes and letters."""
    import matplotlib

    return str(matplotlib.rcParams["text.color"])


def paper() -> str:
    """The colour behind a figure."""
    import matplotlib

    return str(matplotlib.rcParams["axes.facecolor"])


def _style(colour: str, behind: str, fonts: str) -> dict[str, Any]:
    inked = dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color"), colour)
    sizes = ("font.size", "axes.labelsize", "axes.titlesize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize")
    return {
        **inked,
        **dict.fromkeys(sizes, SIZE),
        "axes.facecolor": behind,
        "figure.facecolor": behind,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.titlelocation": "left",
        "grid.alpha": 0.15,
        "grid.linewidth": 0.5,
        "grid.color": colour,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same letters on every machine
        "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
        "pdf.use14corefonts": False,
        "svg.fonttype": fonts,
        "svg.hashsalt": "fedlm",
        "text.parse_math": False,  # a name with dollar signs is a name
        "figure.constrained_layout.h_pad": 0.04,
        "figure.constrained_layout.w_pad": 0.04,
    }


@contextmanager
def drawn(
    draw: Draw, width: float, *, colour: str = "#000000", behind: str = "#ffffff", fonts: str = "path"
) -> Iterator[Any]:
    """Yields a figure of a width, as high as its axes need, under the style of this module.

    Args:
      draw: fills it.
      width: in inches.
      colour, behind: of letters and axes, and of the paper.
      fonts: "path" for outlines, "none" for text, in an SVG.
    """
    load_matplotlib()
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # a matplotlibrc of the user's changes no figure
        matplotlib.rcParams.update(_style(colour, behind, fonts))
        warnings.filterwarnings("ignore", message=_MISSING)
        figure = Figure(figsize=(width, 12), dpi=_DOTS, layout="constrained")
        FigureCanvasAgg(figure)
        _fit(figure, draw(figure, width))
        yield figure


def _fit(figure: Any, wanted: float) -> None:
    """Gives the figure the height with which its axes are `wanted` inches high; labels and legend take what they take."""
    layout, before = figure.get_layout_engine(), None
    for _ in range(8):
        layout.execute(figure)
        boxes = [axes.get_position() for axes in figure.axes]
        rows = len({round(box.y0, 3) for box in boxes})
        missing = wanted - min(box.height for box in boxes) * figure.get_figheight()
        places = [[round(v, 3) for v in box.bounds] for box in boxes]
        if abs(missing) < 0.01 and places == before:  # other places may bring other numbers on the axes
            break
        before = places
        if abs(missing) >= 0.01:
            figure.set_figheight(figure.get_figheight() + rows * missing)
    figure.set_layout_engine("none")  # it is laid out; saving need not do it again


def render(draw: Draw, name: str, title: str) -> Rendered:
    """Renders a figure in both widths, and for a page.

    Args:
      draw: fills it.
      name: makes the ids of the page's SVG unique.
      title: the accessible name on a page.
    """
    files = {}
    for ending, width in (("", NARROW), ("-wide", WIDE)):
        with drawn(draw, width) as figure:
            for kind, bare in _BARE.items():
                files[f"{ending}.{kind}"] = _saved(figure, kind, bare)
    with drawn(draw, NARROW, colour=_INK, behind=_PAPER, fonts="none") as figure:
        text = _saved(figure, "svg", _BARE["svg"], transparent=True).decode()
    return Rendered(files, _of_the_page(text, name, title))


def _saved(figure: Any, kind: str, bare: dict[str, str | None], *, transparent: bool = False) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=_DOTS, metadata=bare, transparent=transparent)
    return buffer.getvalue()


def _of_the_page(text: str, name: str, title: str) -> str:
    """Returns an SVG in the colours of the page, whose ids no other figure of the page has."""
    prefix = re.sub(r"[^A-Za-z0-9]+", "-", name)

    def prefixed(tag: re.Match[str]) -> str:
        return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{prefix}-", tag.group())

    text = re.sub(r"<[^>]+>", prefixed, text)  # in tags only: a label may look like an attribute
    return for_a_page(text.replace(_PAPER, "Canvas"), title)


def width_of(text: str) -> float:
    """Returns the width of a line of text in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(family="DejaVu Sans", size=SIZE)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_MISSING)
        width, _, _ = TextToPath().get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def lines_of(text: str, inches: float) -> list[str]:
    """Returns a text in lines that fit into so many inches; a word that does not fit is broken."""
    lines: list[str] = []
    for part in (part for word in _words(text) for part in _broken(word, inches)):
        joined = f"{lines[-1]} {part}" if lines else part
        if lines and width_of(joined) <= inches:
            lines[-1] = joined
        else:
            lines.append(part)
    return lines or [""]


def _words(text: str) -> list[str]:
    """Words without control characters, which no XML may hold; a number and its per cent sign stay together."""
    kept = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c) not in _INVISIBLE)
    return kept.replace(" %", "\u00a0%").split(" ")


def _broken(word: str, inches: float) -> list[str]:
    parts = [""]
    for letter in word:
        if parts[-1] and width_of(parts[-1] + letter) > inches:
            parts.append("")
        parts[-1] += letter
    return [part for part in parts if part]


def wrapped(text: str, inches: float) -> str:
    """Returns a label in lines that fit into so many inches."""
    return "\n".join(lines_of(text, inches))


def ticks(axis: Any, inches: float) -> None:
    """Gives an axis no more numbers than fit side by side."""
    axis.get_major_locator().set_params(nbins=max(2, int(inches / 0.42)))


def legend(figure: Any, handles: Sequence[Any], width: float) -> None:
    """Puts a legend below the axes, in as many columns as fit."""
    if not handles:
        return
    names = [wrapped(h.get_label(), width - 0.5) for h in handles]
    widest = max(width_of(line) for name in names for line in name.split("\n")) + 0.45
    columns = max(1, min(len(names), int((width - 0.1) / widest)))
    figure.legend(
        handles, names, loc="outside lower center", ncols=columns, frameon=False, handlelength=2.0, columnspacing=1.0
    )
