"""The report of one run: one HTML file without outside references.

Under differential privacy it shows what the privacy ledger covers and nothing else.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedlm.data.corpus import is_of_public_text
from fedlm.errors import DataError
from fedlm.measure import fairness, text
from fedlm.measure.fairness import gini
from fedlm.measure.metric import ClientSums, RunEvidence
from fedlm.preparation.left_out import told
from fedlm.report.page import figure_text, write_page
from fedlm.report.plots import Plot, curve, histogram
from fedlm.scrub.kinds import readable
from fedlm.system.figures_json import figures_of
from fedlm.types import Evaluated, TextMetrics

_CURVES = ("accuracy", "bits_per_char")  # of the measure `text`
_SUMS = ("loss_sum", "correct", "tokens", "characters")


def write_report(run: Path, *, samples: bool = False) -> Path:
    """Writes report.html from the run's files; returns its path.

    Args:
      run: the run's folder.
      samples: show sample text although the corpus is private.

    Raises:
      DataError: it is not the folder of a finished run.
    """
    if not (run / "summary.json").is_file():
        raise DataError(f"{run} is not the folder of a finished run: it has no summary.json.")
    return write_page(run / "report.html", "run.html.jinja", _context(run, samples))


def _context(run: Path, samples: bool) -> dict[str, Any]:
    summary = figures_of((run / "summary.json").read_text(encoding="utf-8"))
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    metrics, sample = [figures_of(line) for line in lines], _sample(run)
    shared = {**{k: v for k, v in summary.items() if k != "corpus"}, "about": summary["corpus"]}
    if "privacy" in summary:
        return {**shared, **_private_context(summary, metrics), "sample": sample}
    public = samples or is_of_public_text(summary["corpus"])
    return {**shared, **_open_context(run, summary, metrics), "sample": sample if public else ""}


def _sample(run: Path) -> str:
    """Sample text, with placeholders as words; empty without one."""
    file = run / "sample.txt"
    return readable(file.read_text(encoding="utf-8")) if file.is_file() else ""


def _open_context(run: Path, summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the learning curves and the spread over clients."""
    about = summary["corpus"]
    trained = [m for m in metrics if "train_loss" in m]
    has_validation = bool(summary.get("config", {}).get("validation_fraction"))
    clients = _last_evaluation(run / ("final_clients.parquet" if has_validation else "clients.parquet"))
    part = Evaluated.VALIDATION if has_validation else Evaluated.HELD_OUT
    return {
        "title": "Language model trained by a deployment"
        if about.get("deployment")
        else f"{about['corpus']}: language model trained on {about['clients'] - about.get('evaluated_only', 0):,} clients",
        "rounds": max((m["round"] for m in metrics), default=0),
        "failed": sum(m.get("failed", 0) for m in metrics),
        "sent": _sent(summary),
        "baselines": _baselines(summary),
        "left_out": _left_out(about),
        "plots": [*_curves(metrics, part), *_training_curve(trained)],
        "caption": _caption(clients, part),
        "clients": _spread(*clients) if clients else None,
    }


def _baselines(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the n-grams' rows, and whether the model has passed the largest; None where they were not counted."""
    found, final = dict(summary.get("baselines") or {}), summary.get("final")
    tokens = found.pop("tokens", 0)
    if not found or not final:
        return None
    name, best = list(found.items())[-1]
    bits = final["bits_per_char"]
    rows = [(f"{n} (Witten-Bell)" if n != "unigram" else n, figure_text(v)) for n, v in found.items()]
    return {"rows": [*rows, ("this model", figure_text(bits))], "tokens": tokens, "name": name, "passed": bits < best}


def _left_out(about: Mapping[str, Any]) -> list[str]:
    """Says how many clients and documents of the corpus the run did not train on or evaluate, and why."""
    causes = about.get("left_out_causes")
    if causes is None:  # a vault of an earlier version counts without causes
        causes = {"few_after_scrubbing": about["left_out"]} if about.get("left_out") else {}
    counts = (
        causes,
        about.get("documents_left_out", {}),
        about.get("without_held_out", 0),
        about.get("dealt_nothing", ()),
    )
    lines = told(
        *counts,
        about.get("min_documents", 2),
        without_validation=about.get("without_validation", 0),
        evaluated_only=about.get("evaluated_only", 0),
    )
    return list(lines)


def _sent(summary: Mapping[str, Any]) -> str:
    """Says what the nodes sent. The summary of an earlier version does not tell sums from single updates."""
    single = summary.get("single_updates")
    updates = (
        "weight updates" if single is None else "each client's weight update" if single else "sums of weight updates"
    )
    return f"{'a private vocabulary, ' * ('private_vocabulary' in summary)}{updates} and figures"


def _curves(metrics: Sequence[Mapping[str, Any]], part: Evaluated) -> list[Plot]:
    """Returns the learning curves on the text that evaluation during training read."""
    evaluated = [m for m in metrics if "eval" in m]
    titles = {m.name: m.title.replace(Evaluated.HELD_OUT.words, part.words) for m in text.METRICS}
    rounds = [m["round"] for m in evaluated]
    return [curve(titles[k], rounds, [m["eval"][k] for m in evaluated], titles[k]) for k in _CURVES]


def _training_curve(trained: Sequence[Mapping[str, Any]]) -> list[Plot]:
    if not trained:
        return []
    label = "training loss (nats per token)"
    return [curve(label, [m["round"] for m in trained], [m["train_loss"] for m in trained], label)]


def _caption(clients: tuple[int, RunEvidence] | None, part: Evaluated) -> str:
    """What the points of the learning curves are."""
    number = f" of n = {len(clients[1].clients):,} clients" if clients and part is Evaluated.HELD_OUT else ""
    once = (
        " Held-out text was read once, under the final weights."
        if part is Evaluated.VALIDATION
        else " The last point is the final figure: what steers a run by these curves reads the text of its final figures."
    )
    return (
        f"{part.words.capitalize()} figures are over all {part.words} tokens{number}, evaluated after the rounds marked; the "
        f"training loss is over the tokens of the round's cohort. One run: no interval.{once}"
    )


def _private_context(summary: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what the ledger covers: epsilon and the clip norm over rounds."""
    spent = [m for m in metrics if m.get("epsilon") is not None]
    simulated = summary["privacy"]["statement"].startswith("simulated")  # all that a run of 0.1.0 says
    covered = summary["privacy"].get("covers") or ("simulated clients" if simulated else "clients")
    rounds, label = [m["round"] for m in spent], f"epsilon (at delta {summary['privacy']['delta']:g})"
    plots = [curve(f"epsilon spent, for {covered}", rounds, [m["epsilon"] for m in spent], label)] if spent else []
    if len({m["clip_norm"] for m in spent}) > 1:
        plots.append(curve("clip norm", rounds, [m["clip_norm"] for m in spent], "clip norm of the next round (L2)"))
    return {
        "title": f"{summary['corpus']['corpus']}: language model trained with differential privacy",
        "rounds": max((m["round"] for m in metrics), default=0),
        "plots": plots,
        "caption": f"Upper bound for {covered} after each round, from the ledger's releases.",
        "clients": None,
    }


def _last_evaluation(file: Path) -> tuple[int, RunEvidence] | None:
    """Returns the round of the last evaluation in a file and its clients' sums; None where they are not kept."""
    from pyarrow import parquet

    if not file.is_file():
        return None
    rows = parquet.read_table(file).to_pylist()
    last = max((row["round"] for row in rows), default=0)
    sums = [TextMetrics(*(row[k] for k in _SUMS)) for row in rows if row["round"] == last and row["characters"] > 0]
    return (last, RunEvidence(tuple(ClientSums(s) for s in sums))) if sums else None


def _spread(last: int, evidence: RunEvidence) -> dict[str, Any]:
    """Returns the measure `fairness` as rows of a table, and the distribution over clients."""
    figures = fairness.figures(evidence)
    rows = [(m.title, figure_text(figures[m.name])) for m in fairness.METRICS if m.name in fairness.OVER_CLIENTS]
    rows.append(("Gini coefficient of held-out tokens", figure_text(gini(_tokens(evidence)))))
    label = "held-out loss (bits per character)"
    plot = histogram("held-out loss over clients", list(evidence.bits), label)
    return {"count": len(evidence.clients), "round": last, "rows": rows, "plot": plot}


def _tokens(evidence: RunEvidence) -> Any:
    import numpy as np

    return np.array([c.held_out.tokens for c in evidence.clients], np.float64)
