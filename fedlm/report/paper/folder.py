"""The folder paper/ of a study: figures, tables and data that go into a paper unchanged.

    NAME.svg .pdf .png          a figure in one column's width; NAME-wide.* in that of two columns
    figures.tex                 each figure with its caption and label, as floats
    contrasts.csv .tex          the primary contrasts
    published.csv               a paper's results beside those of the study, where it repeats some
    results.csv .tex            all cases: means and paired differences
    section.md                  the study as a section of a page
    data.csv .parquet           a row for each run, round, group and metric

It is written beside the old one, which it then replaces as a whole.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedlm.report.paper.canvas import render
from fedlm.report.paper.data import as_files, tidy
from fedlm.report.paper.figures import Made, figures_of
from fedlm.report.paper.latex import floating
from fedlm.report.paper.markdown import section
from fedlm.report.paper.tables import (
    CONTRASTS,
    PUBLISHED,
    RESULTS,
    as_csv,
    contrast_rows,
    contrasts_tex,
    result_rows,
    results_tex,
)
from fedlm.system.files import replacing_folder

PAPER = "paper"
_OLD = re.compile(r"(line|spread|trade)-.*\.(svg|png)")  # of figures/, which earlier versions wrote


def write_paper(study: Path, content: Mapping[str, Any]) -> list[dict[str, str]]:
    """Writes paper/ from study.json, results.parquet and rounds.parquet; returns SVGs and captions for the page.

    Args:
      study: the study's folder.
      content: of its study.json.
    """
    clients = _rows(study / "results.parquet", [("client", ">=", 0)]) if _has_spread(content) else []
    rounds = _rows(study / "rounds.parquet")
    figures, shown = figures_of(content, clients, rounds), []
    name = file_name(str(content["name"]))
    with replacing_folder(study / PAPER) as beside:
        for made in figures:
            rendered = render(made.draw, made.name, made.caption)
            for ending, content_of in rendered.files.items():
                (beside / f"{file_name(made.name)}{ending}").write_bytes(content_of)
            shown.append({"svg": rendered.page, "caption": made.caption})
        for file, text in _texts(content, figures, name).items():
            (beside / file).write_text(text, encoding="utf-8", newline="")
        for file, raw in as_files(tidy(content, rounds)).items():
            (beside / file).write_bytes(raw)
    _remove_old_figures(study / "figures")
    return shown


def _texts(content: Mapping[str, Any], figures: Sequence[Made], name: str) -> dict[str, str]:
    paper = content.get("paper")
    own = {"published.csv": as_csv(PUBLISHED, paper["rows"])} if paper else {}
    return own | {
        "contrasts.csv": as_csv(CONTRASTS, contrast_rows(content)),
        "contrasts.tex": contrasts_tex(content, name),
        "results.csv": as_csv(RESULTS, result_rows(content)),
        "results.tex": results_tex(content, name),
        "figures.tex": "% Needs \\usepackage{graphicx}; \\graphicspath names this folder.\n"
        + "\n".join(_figure_tex(made, name) for made in figures),
        "section.md": section(content, {file_name(made.name): made.caption for made in figures}),
    }


def _figure_tex(made: Made, name: str) -> str:
    file = file_name(made.name)
    inside = f"\\includegraphics[width=\\textwidth]{{{file}-wide.pdf}}\n"
    return floating("figure", f"{name}-{file}", made.caption, inside)


def file_name(name: str) -> str:
    """Returns a name that is a file's and a label's: letters, digits, hyphens, underscores.

    >>> file_name("difference-group:a b/../c")
    'difference-group-a-b-c'
    """
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:80] or "study"


def _has_spread(content: Mapping[str, Any]) -> bool:
    return any(f["kind"] == "spread" for f in content["figures"])


def _rows(file: Path, filters: Any = None) -> list[dict[str, Any]]:
    """The rows of a parquet file; none where an earlier version did not write it."""
    from pyarrow import parquet

    return list(parquet.read_table(file, filters=filters).to_pylist()) if file.is_file() else []


def _remove_old_figures(folder: Path) -> None:
    """Removes the figures of an earlier version, whose bars were unpaired; a file that is not one of them stays."""
    if folder.is_dir() and not folder.is_symlink():
        for file in [f for f in folder.iterdir() if _OLD.fullmatch(f.name)]:
            file.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
