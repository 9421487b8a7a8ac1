"""Figures of models that diverged, studies without rows, and corpora within corpora."""

import math
from pathlib import Path

import pytest

from fedlm.report.figures import line, render, spread
from fedlm.report.plots import curve, histogram
from fedlm.types import TextMetrics
from scenarios.runner.job import fingerprint
from scenarios.runner.outcome import People, outcome

ODD = [math.nan, math.inf, -math.inf]


def test_plots_show_what_is_finite() -> None:
    assert histogram("h", [1.0, *ODD, 2.0], "bits") == histogram("h", [1.0, 2.0], "bits")
    assert curve("c", [1, 2, 3, 4, 5], [1.0, *ODD, 2.0], "bits") == curve("c", [1, 5], [1.0, 2.0], "bits")
    assert "<svg" in histogram("h", ODD, "bits") and "<svg" in curve("c", [1, 2, 3], ODD, "bits")


def test_a_study_without_rows_has_empty_plots(recwarn: pytest.WarningsRecorder) -> None:
    for plot in (line([], "accuracy", "accuracy", "alpha"), spread([], "accuracy", "accuracy", "alpha")):
        assert "<svg" in render("empty", plot)[0]
    assert not list(recwarn)


def test_a_model_that_diverged_has_an_outcome() -> None:
    figures = {c: TextMetrics(1e6, 0, 100, 100) for c in range(20)}  # 14,427 bits per character
    people = People(dict.fromkeys(figures, ""), dict.fromkeys(figures, 100), {}, "")
    found = outcome(people, figures, {}, {})
    assert found["figures"]["worst_tenth_perplexity"] == 2.0**1023


def test_a_corpus_of_corpora_changes_with_each_of_its_files(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.jsonl", "b.jsonl", "c (2).jsonl")]
    for file in files:
        file.write_text("{}")
    a, b, c = map(str, files)
    corpus = f"mix(corpora=[{a!r}, {f'planted(corpus={b!r})'!r}, {c!r}])"
    seen = [fingerprint(corpus)]
    for file in files:
        file.write_text("changed")
        seen.append(fingerprint(corpus))
    assert len({str(sorted(found.items())) for found in seen}) == 4
    assert fingerprint(a) == {**fingerprint("none"), "corpus": a, a: fingerprint(a)[a]}
