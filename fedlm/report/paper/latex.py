r"""LaTeX from values: escaped text, tables of booktabs, floats.

What a name holds, `\input{}` for example, is printed and never run.
"""

import re
import unicodedata
from collections.abc import Sequence

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "#": r"\#",
    "$": r"\$",
    "%": r"\%",
    "&": r"\&",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after the end of a row it would begin an option
    "]": "{]}",
    "*": "{*}",
    "\u2212": "$-$",
    "\u00b1": r"$\pm$",
    "\u00d7": r"$\times$",
    "\u2264": r"$\leq$",
    "\u2265": r"$\geq$",
    "\u2013": r"\textendash{}",
    "\u2014": r"\textemdash{}",
    "\u03b1": r"$\alpha$",
    "\u03b4": r"$\delta$",
    "\u03b5": r"$\varepsilon$",
    "\u2020": r"\dag{}",
}
_DROPPED = ("Cc", "Cf", "Cs", "Co", "Cn")  # categories of Unicode that no typesetter prints


def escaped(text: str) -> str:
    r"""Returns text that LaTeX prints as it is, on one line; control characters are left out.

    >>> print(escaped("\\input{x} & 5 % of a_b"))
    \textbackslash{}input\{x\} \& 5 \% of a\_b
    """
    one_line = " ".join(text.split())
    kept = (c for c in one_line if c == " " or unicodedata.category(c) not in _DROPPED)
    plain = "".join(_ESCAPED.get(c, c) for c in kept)
    return re.sub("-(?=-)", "-{}", plain)  # two would become a dash


def tabular(columns: str, head: Sequence[Sequence[str]], body: Sequence[Sequence[Sequence[str]]]) -> str:
    """Returns a tabular of booktabs.

    Args:
      columns: its column specification.
      head: rows of the head, each of cells that are LaTeX already.
      body: groups of rows; a small space parts the groups.
    """
    rows = [r"\addlinespace".join(["", "\n"]) if place else "" for place in range(len(body))]
    groups = [space + "".join(_row(cells) for cells in group) for space, group in zip(rows, body, strict=True)]
    top = "".join(_row(cells) for cells in head)
    inside = f"\\toprule\n{top}\\midrule\n{''.join(groups)}\\bottomrule\n"
    return f"\\begin{{tabular}}{{{columns}}}\n{inside}\\end{{tabular}}\n"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + " \\\\\n"


def floating(kind: str, label: str, caption: str, inside: str) -> str:
    """Returns a float over both columns with caption and label.

    Args:
      kind: `table` or `figure`.
      label: its name, of letters, digits and hyphens after the kind's prefix.
      caption: plain text.
      inside: LaTeX.
    """
    prefix, place = {"table": "tab", "figure": "fig"}[kind], "\\caption{" + escaped(caption) + "}\n"
    named = f"{place}\\label{{{prefix}:{label}}}\n"
    ordered = f"{named}{inside}" if kind == "table" else f"{inside}{named}"
    return f"\\begin{{{kind}*}}\n\\centering\n{ordered}\\end{{{kind}*}}\n"
