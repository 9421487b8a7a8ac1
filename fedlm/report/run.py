"""The report of one run: one HTML file without outside references.

Under differential privacy it shows what the privacy ledger covers and nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedlm.data.corpus import is_of_public_text
from fedlm.errors import ConfigError
from fedlm.measure import fairness, text
from fedlm.measure.fairness import gini
from fedlm.measure.metric import ClientSums, RunEvidence
from fedlm.report.page import figure_text, write_page
from fedlm.report.plots import Plot, curve, histogram
from fedlm.scrub.kinds import readable
from fedlm.types import TextMetrics

_CURVES = ("accuracy", "bits_per_char")  # of the measure `text`
_SUMS = ("loss_sum", "correct", "tokens", "characters")


def write_report(run: Path, *, samples: bool = False) -> Path:
    """Writes report.html from the run's files; returns its path.

    Args:
      run: the run's folder.
      samples: show sample text although the corpus is private.

    Raises:
      ConfigError: it is not the folder of a finished run.
    """
    if not (run / "summary.json").is_file():
        raise ConfigError(f"{run} is not the folder of a finished run: it has no summary.json.")
    return write_page(run / "report.html", "run.html.jinja", _context(run, samples))


def _context(run: Path, samples: bool) -> dict[str, Any]:
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    metrics, sample = [json.loads(line) for line in lines], _sample(run)
    shared = {**{k: v for k, v in summary.items() if k != "corpus"}, "about": summary["corpus"]}
    if "privacy" in summary:
        return {**shared, **_private_context(summary, metrics), "sample": sample}
    public = samples or is_of_public_text(summary["corpus"])
    return {**shared, **_open_context(run, summary["corpus"], metrics), "sample": sample if public else ""}


def _sample(run: Path) -> str:
    """Sample text, with placeholders as words; empty without one."""
    file = run / "sample.txt"
    return readable(file.read_text(encoding="utf-8")) if file.is_file() else ""


def _open_context(run: Path, about: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the learning curves and the spread over clients."""
    trained = [m for m in metrics if "train_loss" in m]
    clients = _last_evaluation(run)
    return {
        "title": "Language model trained by a deployment"
        if about.get("deployment")
        else f"{about['corpus']}: language model trained on {about['clients']:,} clients",
        "rounds": len(trained),
        "failed": sum(m.get("failed", 0) for m in metrics),
        "plots": [*_held_out_curves(metrics), *_training_curve(trained)],
        "caption": _caption(clients),
        "clients": _spread(*clients) if clients else None,
    }


def _held_out_curves(metrics: Sequence[Mapping[str, Any]]) -> list[Plot]:
    evaluated = [m for m in metrics if "eval" in m]
    titles = {m.name: m.title for m in text.METRICS}
    rounds = [m["round"] for m in evaluated]
    return [curve(titles[k], rounds, [m["eval"][k] for m in evaluated], titles[k]) for k in _CURVES]


def _training_curve(trained: Sequence[Mapping[str, Any]]) -> list[Plot]:
    if not trained:
        return []
    label = "training loss (nats per token)"
    return [curve(label, [m["round"] for m in trained], [m["train_loss"] for m in trained], label)]


def _caption(clients: tuple[int, RunEvidence] | None) -> str:
    """What the points of the learning curves are."""
    number = f" of n = {len(clients[1].clients):,} clients" if clients else ""
    return (
        f"Held-out figures are over all held-out tokens{number}, evaluated after the rounds marked; the training loss is over "
        "the tokens of the round's cohort. One run: no interval."
    )


def _private_context(summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what the ledger covers: epsilon and the clip norm over rounds."""
    spent = [m for m in metrics if m.get("epsilon") is not None]
    rounds, label = [m["round"] for m in spent], f"epsilon (at delta {summary['privacy']['delta']:g})"
    plots = [curve("epsilon spent", rounds, [m["epsilon"] for m in spent], label)] if spent else []
    if len({m["clip_norm"] for m in spent}) > 1:
        plots.append(curve("clip norm", rounds, [m["clip_norm"] for m in spent], "clip norm of the next round (L2)"))
    return {
        "title": f"{summary['corpus']['corpus']}: language model trained with differential privacy",
        "rounds": max((m["round"] for m in metrics), default=0),
        "plots": plots,
        "caption": "Upper bound after each round, from the ledger's releases.",
        "clients": None,
    }


def _last_evaluation(run: Path) -> tuple[int, RunEvidence] | None:
    """Returns the round of the last evaluation and its clients' sums; None where they are not kept."""
    from pyarrow import parquet

    if not (run / "clients.parquet").is_file():
        return None
    rows = parquet.read_table(run / "clients.parquet").to_pylist()
    last = max((row["round"] for row in rows), default=0)
    sums = [TextMetrics(*(row[k] for k in _SUMS)) for row in rows if row["round"] == last and row["characters"] > 0]
    return (last, RunEvidence(tuple(ClientSums(s) for s in sums))) if sums else None


def _spread(last: int, evidence: RunEvidence) -> dict[str, Any]:
    """Returns the measure `fairness` as rows of a table, and the distribution over clients."""
    figures = fairness.figures(evidence)
    rows = [(m.title, figure_text(figures[m.name])) for m in fairness.METRICS]
    rows.append(("Gini coefficient of held-out tokens", figure_text(gini(_tokens(evidence)))))
    label = "held-out loss (bits per character)"
    plot = histogram("held-out loss over clients", list(evidence.bits), label)
    return {"count": len(evidence.clients), "round": last, "rows": rows, "plot": plot}


def _tokens(evidence: RunEvidence) -> Any:
    import numpy as np

    return np.array([c.held_out.tokens for c in evidence.clients], np.float64)
