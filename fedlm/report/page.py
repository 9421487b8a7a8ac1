"""Writes a report from its template: one HTML file without outside references.

Values are escaped. A policy in the page (Content Security Policy, Level 3) is the second barrier: a browser runs the scripts
of the template and no other, loads nothing, and sends nothing.
"""

import base64
import hashlib
import re
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
    source = (Path(__file__).parent / template).read_text(encoding="utf-8")
    write_atomic(path, environment.get_template(template).render(context, policy=policy(source)))
    return path


def policy(source: str) -> str:
    """Returns the Content-Security-Policy of a page.

    Args:
      source: the template, not the page: a script that a value brought into the page has no hash here. Its scripts hold no
        values.
    """
    scripts = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{h}'" for h in hashes) or "'none'"
    # Matplotlib's figures have styles of their own, and the icon is an empty data: address.
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def figure_text(value: float | None, sign: bool = False) -> str:
    """Returns a figure with as many digits as it carries.

    >>> figure_text(12345.6), figure_text(123.45), figure_text(1.23456, True), figure_text(None)
    ('12,346', '123.5', '+1.235', '–')
    """
    if value is None:
        return "–"
    digits = 0 if abs(value) >= 1000 else 3 if abs(value) < 100 else 1
    return f"{value:{'+' if sign else ''},.{digits}f}"
