"""The folder paper/ of a study: its files are the same whoever writes them where, and names in them are names only."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fedlm.report.paper.canvas import NARROW, WIDE
from fedlm.report.paper.latex import escaped
from fedlm.report.paper.tables import CONTRASTS, RESULTS, as_csv, contrast_rows, result_rows
from fedlm.report.study import write_study_report
from fedlm.system.files import replacing_folder
from scenarios.runner.design import Contrast, Figure
from scenarios.runner.output import Ended, write_results
from scenarios.runner.study import Case
from tests.support.made_study import content_of, made, record

HOSTILE = '\\input{/etc/passwd} 100 % & $x_1$ #~^ "q" `a` <b> [c] * \u2212 -- \u202e\x1b\n\\end{document}'
CASES = (Case("even"), Case("skewed"))
VALUES = ((2.0, 2.2, 2.1), (2.3, 2.4, 2.5))
CONTRAST = (Contrast("bits_per_char", "skewed", "even"),)


def study_folder(folder: Path, **more: Any) -> Path:
    """Makes the folder of a study of two conditions with three seeds."""
    study = made(**({"contrasts": CONTRAST, "figures": (Figure("line", "bits_per_char"),)} | more))
    pairs = zip(study.cases, VALUES, strict=True)
    records = [record(c, s, bits_per_char=v, **{"group:b": v}) for c, own in pairs for s, v in enumerate(own)]
    folder.mkdir(exist_ok=True)
    write_results(Ended(study, range(3), records, {}, "fedlm study made", 1.0), folder)
    return folder


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = study_folder(tmp_path_factory.mktemp("study"))
    write_study_report(folder)
    return folder / "paper"


def test_every_figure_has_three_formats_in_two_widths(paper: Path) -> None:
    for name in ("difference-bits_per_char", "level-bits_per_char"):
        for ending, width in (("", NARROW), ("-wide", WIDE)):
            svg, pdf, png = ((paper / f"{name}{ending}.{kind}").read_bytes() for kind in ("svg", "pdf", "png"))
            inches = float(re.search(rb'width="([\d.]+)pt"', svg)[1]) / 72  # type: ignore[index]
            assert inches == pytest.approx(width, abs=0.01)
            assert b"/Type3" not in pdf and b"/FontFile2" in pdf  # embedded TrueType
            assert float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", pdf)[1]) / 72 == pytest.approx(width, abs=0.01)  # type: ignore[index]
            assert int.from_bytes(png[16:20], "big") == pytest.approx(300 * width, abs=1)
            assert b"<text" not in svg and b"currentColor" not in svg and b"#fdfefd" not in svg


def test_the_same_study_gives_the_same_bytes_whatever_the_users_settings(paper: Path, tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("font.size: 30\nlines.linewidth: 9\nsavefig.dpi: 20\n")
    folder = study_folder(tmp_path / "study")
    code = f"from pathlib import Path; from fedlm.report.study import write_study_report as w; w(Path({str(folder)!r}))"
    env = {**os.environ, "MPLBACKEND": "svg", "MATPLOTLIBRC": str(tmp_path), "SOURCE_DATE_EPOCH": "1"}
    env |= {"PYTHONPATH": str(Path.cwd()), "LC_ALL": "C"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True)
    names = sorted(file.name for file in paper.iterdir())
    assert names == sorted(file.name for file in (folder / "paper").iterdir())
    assert [n for n in names if (paper / n).read_bytes() != (folder / "paper" / n).read_bytes()] == []


def test_the_contrast_table_by_hand(paper: Path) -> None:
    with (paper / "contrasts.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    # Differences 0.3, 0.2, 0.4: mean 0.3, s = 0.1; t(0.975, 2) = 4.3027. All of the same sign: p = 2 / 2^3.
    assert float(row["difference"]) == pytest.approx(0.3) and row["paired_seeds"] == "3"
    assert float(row["low"]) == pytest.approx(0.3 - 4.302652729696142 * 0.1 / 3**0.5)
    assert float(row["p"]) == float(row["p_holm"]) == 0.25 and row["verdict"] == "not decided"
    assert (row["number"], row["margin"]) == ("C1", "0.02")
    tex = (paper / "contrasts.tex").read_text()
    assert "$+0.300$ {[}$+0.052$, $+0.548${]} & 3 &" in tex and "$0.250$ & $0.020$" in tex and "not decided" in tex
    assert "$+0.300$ {[}$+0.052$, $+0.548${]}$^{\\dagger}$" in (paper / "results.tex").read_text()


def test_the_data_have_a_row_for_each_figure_group_and_round(tmp_path: Path) -> None:
    from pyarrow import parquet

    folder = study_folder(tmp_path / "study")
    runs = folder / "runs" / "folder"
    runs.mkdir(parents=True)
    (runs / "config.toml").write_text("")
    lines = [
        {"round": 0, "eval": {"bits_per_char": 7.0}},
        {"round": 1, "train_loss": None},
        {"round": 2, "train_loss": 1.5},
    ]
    (runs / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"round": 3, "tra')
    study_folder(folder)
    write_study_report(folder)
    rows = parquet.read_table(folder / "paper" / "data.parquet").to_pylist()
    own = [r for r in rows if r["condition"] == "skewed" and r["seed"] == 1]
    assert [(r["round"], r["group"], r["metric"], r["value"]) for r in own] == [
        (None, "", "bits_per_char", 2.4),
        (None, "b", "group", 2.4),
        (0, "", "bits_per_char", 7.0),
        (2, "", "train_loss", 1.5),
    ]
    with (folder / "paper" / "data.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(rows) == 2 * 3 * 4


def test_hostile_names_are_escaped_in_latex() -> None:
    tex = escaped(HOSTILE)
    assert "\n" not in tex and "\x1b" not in tex and "\u202e" not in tex
    commands = set(re.findall(r"\\([A-Za-z]+)", tex))
    assert commands <= {
        "textbackslash",
        "textasciicircum",
        "textasciitilde",
        "textquotedbl",
        "textasciigrave",
        "textless",
        "textgreater",
    }
    bare = re.sub(r"\\[{}#$%&_]|\\[A-Za-z]+\{\}|\$-\$|\{[\[\]*]\}|-\{\}", "", tex)
    assert not set(bare) & set('\\{}#$%&_^~"`<>[]*'), bare
    assert "--" not in tex and escaped("a-b") == "a-b" and escaped("") == "" and escaped("a\\") == "a\\textbackslash{}"


def test_the_section_has_question_verdict_table_and_limits(paper: Path) -> None:
    section = (paper / "section.md").read_text()
    assert section.startswith("### made\n\n**Why?**\n")
    assert (
        "| C1 | held-out loss (bits per character) | skewed against even (FedAvg) | +0.300 [+0.052, +0.548] | 3 |"
        in section
    )
    assert (
        "| skewed | FedAvg | 2.400; +0.300 [+0.052, +0.548] \u2020 |" in section
        and "| even | FedAvg | 2.100 |" in section
    )
    for file in re.findall(r"\]\(([^)]*)\)", section):
        assert (paper / file).is_file()


def balanced(tex: str) -> bool:
    """Returns whether braces, and begin and end of environments, match."""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", tex.replace("\\\\", "")):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    names = re.findall(r"\\(begin|end)\{(\w+\*?)\}", tex)
    open_ones: list[str] = []
    for what, name in names:
        if what == "begin":
            open_ones.append(name)
        elif not open_ones or open_ones.pop() != name:
            return False
    return depth == 0 and not open_ones


def test_hostile_names_do_nothing_in_any_file(tmp_path: Path) -> None:
    cases = (Case("even"), Case(HOSTILE))
    contrast = (Contrast("bits_per_char", HOSTILE, "even"),)
    folder = study_folder(tmp_path / "study", name=HOSTILE, cases=cases, contrasts=contrast, x_label=HOSTILE)
    write_study_report(folder)
    for file in ("contrasts.tex", "results.tex", "figures.tex"):
        tex = (folder / "paper" / file).read_text()
        assert "\\input" not in tex and "\\end{document}" not in tex and balanced(tex), file
        body = tex.partition("\\toprule")[2].partition("\\bottomrule")[0]
        widths = {len(re.split(r"(?<!\\)&", line)) for line in body.splitlines() if "&" in line}
        assert len(widths) <= 1, file
    section = (folder / "paper" / "section.md").read_text()
    assert not re.search(r"(?<!\\)[<`$](?!``)", section.partition("\n```\n")[0]) and "\x1b" not in section
    tables = [line for line in section.splitlines() if line.startswith("|")]
    assert {len(re.split(r"(?<!\\)\|", line)) - 2 for line in tables} == {10, 3}
    for name in re.findall(r"\{([^{}]*\.pdf)\}|\\label\{([^{}]*)\}", (folder / "paper" / "figures.tex").read_text()):
        assert re.fullmatch(r"[A-Za-z0-9_:.-]+", "".join(name))
    for svg in (folder / "paper").glob("*.svg"):
        assert b"\x1b" not in svg.read_bytes()


@pytest.mark.parametrize("name", ["=1+1", "+a", "-a", "@SUM(A1)", 'a,"b"\nc', "\t=1", "", "漢字 ε"])
def test_a_name_is_no_formula_of_a_spreadsheet(name: str) -> None:
    [row] = csv.DictReader(io.StringIO(as_csv(("name", "value"), [{"name": name, "value": -0.5}])))
    assert row["name"].lstrip("'") == name and not row["name"].startswith(("=", "+", "-", "@", "\t"))
    assert row["value"] == "-0.5"


def test_tables_of_studies_without_contrasts_or_results() -> None:
    content = content_of([], cases=CASES)
    assert contrast_rows(content) == [] == result_rows(content)
    assert as_csv(CONTRASTS, []).strip() == ",".join(CONTRASTS)
    rows = result_rows(content_of([record(c, 0, bits_per_char=2.0) for c in CASES], cases=CASES, contrasts=CONTRAST))
    assert set(RESULTS) == set(rows[0])
    assert [(r["condition"], r["low"], r["difference"], r["primary"]) for r in rows] == [
        ("even", None, None, ""),
        ("skewed", None, 0.0, "C1"),
    ]


def test_a_folder_is_replaced_as_a_whole_or_stays(tmp_path: Path) -> None:
    target = tmp_path / "paper"
    for text in ("one", "two"):
        with replacing_folder(target) as beside:
            (beside / text).write_text(text)
    assert [f.name for f in target.iterdir()] == ["two"]
    with pytest.raises(RuntimeError), replacing_folder(target) as beside:
        (beside / "three").write_text("")
        raise RuntimeError
    assert [f.name for f in target.iterdir()] == ["two"] and [f.name for f in tmp_path.iterdir()] == ["paper"]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with replacing_folder(tmp_path / "link") as beside:
        (beside / "four").write_text("")
    assert not (tmp_path / "link").is_symlink() and not any((tmp_path / "elsewhere").iterdir())


def test_figures_of_an_earlier_version_go_and_other_files_stay(tmp_path: Path) -> None:
    folder = study_folder(tmp_path / "study")
    (folder / "figures").mkdir()
    for name in ("line-bits_per_char.svg", "trade-a-b.png", "mine.svg"):
        (folder / "figures" / name).write_text("")
    write_study_report(folder)
    assert [f.name for f in (folder / "figures").iterdir()] == ["mine.svg"]


def test_matplotlib_is_loaded_when_a_figure_is_drawn() -> None:
    code = (
        "import sys, fedlm.report.study, fedlm.report.paper.folder, scenarios.runner.runner\n"
        "print('matplotlib' in sys.modules, 'pyarrow' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False False\n"
