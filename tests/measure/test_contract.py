"""The contract of `fedlm/measure/`: declared metrics, sums before ratios, no figure from nothing; nobody else tests a name."""

import ast
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedlm.measure.metric import Better, ClientSums, Measure, Metric, RunEvidence
from fedlm.measure.registry import find_metric, known_metrics, run_measures
from fedlm.types import TextMetrics

ROOT = Path(__file__).parents[2]
MEASURES = run_measures()
LINE = {"round": 1, "tokens": 10, "seconds": 1.0, "train_loss": 2.0, "eval": {"loss": 3.0, "bits_per_char": 4.0}}
DRIFT = {"drift": {"cosine": 0.5, "norm": 2.0}}


def client(bits: float, characters: int, group: str = "", local: float | None = None) -> ClientSums:
    """A client with so many held-out characters at so many bits each, and as many training tokens."""
    sums = TextMetrics(bits * characters * math.log(2), 0, characters, characters)
    own = None if local is None else TextMetrics(local * characters * math.log(2), 0, characters, characters)
    return ClientSums(sums, characters, group, own)


CLIENTS = (client(1, 10, "a", 2), client(2, 30, "a", 1), client(4, 10, "b", 5), client(4, 30, "b"))
RUN = RunEvidence(
    CLIENTS, "b", [LINE | DRIFT, {**LINE, "round": 2}], (np.zeros(3, np.float32),), ngrams=lambda: {"5-gram": 2.5}
)
ODD = {
    "nobody": RunEvidence(),
    "one": RunEvidence((client(1, 10),)),
    "no loss": RunEvidence((client(0, 10), client(0, 10))),
    "diverged": RunEvidence((client(1e4, 10), client(1e4, 10))),
    "not a number": RunEvidence((client(math.nan, 10), client(1, 10))),
}


def declares(measure: Measure, name: str) -> bool:
    return any(name == m.name or (m.name.endswith(":") and name.startswith(m.name)) for m in measure.metrics)


def test_metrics_have_one_name_one_title_and_a_direction() -> None:
    metrics = list(known_metrics().values())
    assert len(metrics) > 30 and len({m.title for m in metrics}) == len(metrics)
    assert all(m.label and isinstance(m.better, Better) for m in metrics)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.figures.__module__.rpartition(".")[2])
@pytest.mark.parametrize("run", [RUN, *ODD.values()], ids=["four", *ODD])
def test_a_measure_returns_declared_numbers_for_any_run(measure: Measure, run: RunEvidence) -> None:
    figures = measure.figures(run)
    assert all(declares(measure, name) and isinstance(value, float) for name, value in figures.items())
    if run is RUN:
        assert figures and all(math.isfinite(v) for v in figures.values())


def figures(run: RunEvidence) -> dict[str, float]:
    return {name: value for measure in MEASURES for name, value in measure.figures(run).items()}


def test_every_figure_by_hand() -> None:
    expected = {
        "bits_per_char": (10 + 60 + 40 + 120) / 80,
        "loss": 230 / 80 * math.log(2),
        "best_tenth": 1,
        "worst_tenth": 4,
        "worst_tenth_perplexity": 16,
        "client_mean": 11 / 4,
        "client_median": 3,
        "client_deviation": math.sqrt((1.75**2 + 0.75**2 + 2 * 1.25**2) / 3),
        "client_jain": 121 / (4 * 37),
        "small_clients": 1,  # the smaller of the two with 10 tokens that comes first
        "group:a": 70 / 40,
        "group:b": 4,
        "group_gap": 4 - 70 / 40,
        "minority_gap": 4 - 70 / 40,
        "others": 70 / 40,
        "worst_group": 4,
        "minority": 4,
        "worse_than_local": 1 / 3,
        "personal_gap": (1 - 1 + 1) / 3,
        "minority_worse_than_local": 0,
        "minority_personal_gap": 1,
        "tokens_per_second": 10,
        "bytes_per_round": 3 * 4 + 2 * 3 * 8,  # float32 down; int64 up, twice with drift
        "best_round": 1,
        "best_bits_per_char": 4,
        "generalisation_gap": 1 / math.log(2),
        "update_cosine": 0.5,
        "update_norm": 2,
        "5-gram": 2.5,
        "above_ngram": 230 / 80 - 2.5,
    }
    found = figures(RUN)
    assert {k: found[k] for k in expected} == pytest.approx(expected)


def test_figures_of_all_text_do_not_depend_on_who_wrote_it() -> None:
    merged = client(230 / 80, 80)
    together, apart = figures(RunEvidence((merged,))), figures(replace(RUN, minority=""))
    for name in ("bits_per_char", "loss", "perplexity", "accuracy"):
        assert together[name] == pytest.approx(apart[name])  # averaging perplexities would not give this


def test_unknown_metrics_and_members_of_families_have_a_label() -> None:
    assert find_metric("group:b").title == "loss of group b (bits per character)"
    assert find_metric("unheard_of") == Metric("unheard_of", "unheard_of")
    own = Metric("mine", "my figure", "units", Better.HIGHER)
    assert find_metric("mine", [own]) is own


def test_no_metric_name_is_tested_outside_the_folder() -> None:
    names = set(known_metrics())
    for top in ("fedlm", "clients", "server", "scenarios"):
        for file in (ROOT / top).rglob("*.py"):
            if file.is_relative_to(ROOT / "fedlm" / "measure"):
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Compare):
                    tested = {
                        n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
                    }
                    assert not tested & (names - {"tokens", "clients"}), file  # these two are words of other things too
