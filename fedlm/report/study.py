"""The report of a study: the figures, tables and data of a paper, and one HTML file without outside references."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedlm.errors import DataError
from fedlm.report.legacy import current_format
from fedlm.report.page import write_page
from fedlm.report.paper.folder import write_paper


def write_study_report(study: Path) -> Path:
    """Writes paper/ and report.html from study.json, results.parquet and rounds.parquet; returns the report's path.

    Raises:
      DataError: it is not the folder of a study.
    """
    if not (study / "study.json").is_file():
        raise DataError(f"{study} is not the folder of a study: it has no study.json.")
    content = current_format(json.loads((study / "study.json").read_text(encoding="utf-8")))
    context = {
        "paper": None,  # of a folder of an earlier version
        **content,
        "plots": write_paper(study, content),
        "constant": _constant(content),
    }
    return write_page(study / "report.html", "study.html.jinja", context)


def _constant(content: Mapping[str, Any]) -> dict[str, object]:
    """The settings that no case changes."""
    changed = {k for case in content["design"] for k in case["settings"]}
    own = {k: v for k, v in content["settings"].items() if k not in changed}
    return {**({} if "corpus" in changed else {"corpus": content["corpus"]}), **own}
