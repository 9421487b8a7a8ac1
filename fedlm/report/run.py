"""The report of one run: one HTML file without outside references."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from fedlm.data.corpus import is_of_public_text
from fedlm.errors import ConfigError
from fedlm.measure.fairness import gini, jain, standard_deviation, tenths
from fedlm.report.plots import curve, histogram
from fedlm.scrub.kinds import readable
from fedlm.system.files import write_atomic


def write_report(run: Path, *, samples: bool = False) -> Path:
    """Writes report.html from the run's files; returns its path.

    Args:
      run: the run's folder.
      samples: show sample text even though the corpus is private.

    Raises:
      ConfigError: it is not the folder of a finished run.
    """
    if not (run / "summary.json").is_file():
        raise ConfigError(f"{run} is not the folder of a finished run: it has no summary.json.")
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    environment = Environment(loader=PackageLoader("fedlm.report", "."), autoescape=True, trim_blocks=True)
    environment.filters["quoted"] = shlex.quote
    environment.filters["number"] = lambda n: f"{n:,.0f}"
    context = _context(run, samples)
    context["curves"] = [Markup(c) for c in context["curves"]]  # noqa: S704 - our own SVG
    if context["clients"]:
        context["clients"]["plot"] = Markup(context["clients"]["plot"])  # noqa: S704
    path = run / "report.html"
    write_atomic(path, environment.get_template("run.html.jinja").render(context))
    return path


def _context(run: Path, samples: bool) -> dict[str, Any]:
    summary = json.loads((run / "summary.json").read_text())
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    about = summary["corpus"]
    sample = run / "sample.txt"
    if "privacy" in summary:
        return _private_context(summary, metrics, readable(sample.read_text()) if sample.is_file() else "")
    evaluated = [m for m in metrics if "eval" in m]
    rounds = [m["round"] for m in evaluated]
    trained = [m for m in metrics if "train_loss" in m]
    curves = [
        curve("held-out accuracy", rounds, [m["eval"]["accuracy"] for m in evaluated], "held-out accuracy"),
        curve("bits per character", rounds, [m["eval"]["bits_per_char"] for m in evaluated], "bits per character"),
    ]
    if trained:
        losses = [m["train_loss"] for m in trained]
        curves.append(curve("training loss", [m["round"] for m in trained], losses, "training loss, nats per token"))
    return {
        **{k: v for k, v in summary.items() if k != "corpus"},
        "about": about,
        "title": "a language model trained by a deployment"
        if about.get("deployment")
        else f"{about['corpus']}: a language model trained on {about['clients']:,} clients",
        "rounds": len(trained),
        "failed": sum(m.get("failed", 0) for m in metrics),
        "curves": curves,
        "clients": _clients(run),
        "sample": readable(sample.read_text()) if sample.is_file() and (samples or is_of_public_text(about)) else "",
    }


def _private_context(summary: dict[str, Any], metrics: list[dict[str, Any]], sample: str) -> dict[str, Any]:
    """Returns what the ledger covers: the statement, epsilon over rounds, the model's own text."""
    spent = [m for m in metrics if m.get("epsilon") is not None]
    rounds = [m["round"] for m in spent]
    curves = [
        curve("epsilon", rounds, [m["epsilon"] for m in spent], f"epsilon at delta {summary['privacy']['delta']:g}")
    ]
    if len({m["clip_norm"] for m in spent}) > 1:
        curves.append(curve("clip norm", rounds, [m["clip_norm"] for m in spent], "clip norm of the next round"))
    return {
        **{k: v for k, v in summary.items() if k != "corpus"},
        "about": summary["corpus"],
        "title": f"{summary['corpus']['corpus']}: a language model trained with differential privacy",
        "rounds": max((m["round"] for m in metrics), default=0),
        "curves": curves if spent else [],
        "clients": None,
        "sample": sample,
    }


def _clients(run: Path) -> dict[str, Any] | None:
    from pyarrow import parquet

    if not (run / "clients.parquet").is_file():
        return None
    table = parquet.read_table(run / "clients.parquet").to_pydict()
    columns = {k: np.array(v) for k, v in table.items()}
    last = (columns["round"] == columns["round"].max()) & (columns["characters"] > 0)
    if not last.any():
        return None
    bits = columns["loss_sum"][last] / np.log(2) / columns["characters"][last]
    best, worst = tenths(bits)
    return {
        "count": int(last.sum()),
        "round": int(columns["round"].max()),
        "best": best,
        "median": float(np.median(bits)),
        "worst": worst,
        "deviation": standard_deviation(bits),
        "jain": jain(bits),
        "gini": gini(bits),
        "gini_tokens": gini(columns["tokens"][last].astype(float)),
        "plot": histogram("bits per character over clients", list(bits), "bits per character"),
    }
