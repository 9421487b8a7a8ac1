"""The report of a study: figures as SVG and PNG, and one HTML file without outside references."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedlm.errors import ConfigError
from fedlm.report.figures import line, render, spread, trade
from fedlm.system.files import write_atomic

_HETEROGENEITY = {
    "clients": "clients",
    "tokens": "training tokens",
    "size_gini": "Gini of sizes",
    "size_effective_number": "effective number of clients",
    "ngram_distance": "trigram distance",
    "unknown_share": "out of vocabulary",
}


def write_study_report(study: Path) -> Path:
    """Writes figures/ and report.html from study.json and results.parquet; returns the report's path.

    Raises:
      ConfigError: it is not the folder of a study.
    """
    if not (study / "study.json").is_file():
        raise ConfigError(f"{study} is not the folder of a study: it has no study.json.")
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    content = json.loads((study / "study.json").read_text())
    figures = _figures(study, content)
    environment = Environment(loader=PackageLoader("fedlm.report", "."), autoescape=True, trim_blocks=True)
    environment.filters["number"] = lambda n: f"{n:,.0f}"
    environment.filters["figure"] = _number
    context = {
        **content,
        "svgs": [(title, Markup(svg)) for title, svg in figures],  # noqa: S704 - our own SVG
        "constant": _constant(content),
        "defaults": content.get("defaults", {}),
        "further": content.get("further", []),
        "heterogeneity": _heterogeneity(content["data"]),
        "all_clear": not content["failed"],
    }
    path = study / "report.html"
    write_atomic(path, environment.get_template("study.html.jinja").render(context))
    return path


def _number(value: float | None, sign: bool = False) -> str:
    """Returns a figure with as many digits as carry something."""
    if value is None:
        return "–"
    digits = 0 if abs(value) >= 1000 else 3 if abs(value) < 100 else 1
    return f"{value:{'+' if sign else ''},.{digits}f}"


def _constant(content: Mapping[str, Any]) -> dict[str, object]:
    """The settings that no case changes."""
    changed = {k for case in content["design"] for k in case["settings"]}
    own = {k: v for k, v in content["settings"].items() if k not in changed}
    return {**({} if "corpus" in changed else {"corpus": content["corpus"]}), **own}


def _heterogeneity(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The columns of the data's table: keys and headings; those of labels that a condition has."""
    labels = sorted({k for row in rows for k in row if k.startswith("label_entropy:")})
    return [*_HETEROGENEITY.items(), *((k, f"entropy of {k.partition(':')[2]}, bits") for k in labels)]


def _figures(study: Path, content: Mapping[str, Any]) -> list[tuple[str, str]]:
    from pyarrow import parquet

    folder = study / "figures"
    folder.mkdir(exist_ok=True)
    clients: list[dict[str, Any]] = []
    if any(f["kind"] == "spread" for f in content["figures"]):
        clients = parquet.read_table(study / "results.parquet", filters=[("client", ">=", 0)]).to_pylist()
    made = []
    for figure in content["figures"]:
        title, draw = _drawing(figure, content, clients)
        svg, png = render(title, draw)
        name = "-".join(filter(None, (figure["kind"], figure["metric"], figure["against"])))
        # A file of its own needs a colour: the page's ink is black there.
        (folder / f"{name}.svg").write_text(svg.replace("currentColor", "#000000"), encoding="utf-8")
        (folder / f"{name}.png").write_bytes(png)
        made.append((title, svg))
    return made


def _drawing(figure: Mapping[str, Any], content: Mapping[str, Any], clients: list[dict[str, Any]]) -> tuple[str, Any]:
    metric, label, x_label = figure["metric"], figure["label"], content["x_label"]
    if figure["kind"] == "spread":
        return f"{label} over clients", spread(clients, metric, label, x_label)
    if figure["kind"] == "trade":
        less = tuple(figure["less"])
        names = (label, figure["against_label"])
        return f"{label} against {names[1]}", trade(content["table"], (metric, figure["against"]), names, less)
    return f"{label} over {x_label}", line(content["table"], metric, label, x_label)
