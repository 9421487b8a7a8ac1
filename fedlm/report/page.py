"""Writes a report from its template: one HTML file without outside references."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedlm.system.files import write_atomic


def write_page(path: Path, template: str, context: Mapping[str, Any]) -> Path:
    """Writes the page, whole or not at all; returns its path.

    Args:
      path: of the page.
      template: a file of this folder. Values are escaped; the filter `svg` marks our own SVG as safe.
      context: the template's variables.
    """
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    environment = Environment(loader=PackageLoader("fedlm.report", "."), autoescape=True, trim_blocks=True)
    environment.filters |= {
        "quoted": shlex.quote,
        "number": lambda value: f"{value:,.0f}",
        "figure": figure_text,
        "svg": Markup,  # of our own plots only
    }
    write_atomic(path, environment.get_template(template).render(context))
    return path


def figure_text(value: float | None, sign: bool = False) -> str:
    """Returns a figure with as many digits as it carries.

    >>> figure_text(12345.6), figure_text(123.45), figure_text(1.23456, True), figure_text(None)
    ('12,346', '123.5', '+1.235', '–')
    """
    if value is None:
        return "–"
    digits = 0 if abs(value) >= 1000 else 3 if abs(value) < 100 else 1
    return f"{value:{'+' if sign else ''},.{digits}f}"
