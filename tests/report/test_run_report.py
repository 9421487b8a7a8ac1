"""The report of a run, from folders written by hand: what it shows, what it leaves out, and what it escapes."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from fedlm.errors import DataError
from fedlm.report.run import write_report

ABOUT = {"corpus": "<b>mine</b>", "scrub": "full", "vault": "v.db", "clients": 3, "documents": 9, "characters": 90}
EVAL = {"loss": 2.0, "accuracy": 0.25, "perplexity": 7.39, "bits_per_char": 3.0, "tokens": 30}
LINES = [
    {"round": 0, "cohort": 0, "failed": 0, "tokens": 0, "seconds": 0.0, "eval": EVAL},
    {"round": 1, "cohort": 2, "failed": 1, "tokens": 50, "seconds": 1.0, "train_loss": 2.5, "eval": EVAL},
]


def folder(tmp_path: Path, *, clients: int = 3, **more: Any) -> Path:
    """Writes what a run leaves; `more` goes into summary.json."""
    summary = {
        "config": {"model": "lstm", "cohort_size": 2, "rounds": 1, "seed": 41, "epsilon_budget": 0},
        "corpus": {**ABOUT, "findings": {"EMAIL": 2}},
        "seed": 41,
        "versions": {"tensorflow": "2.21.0"},
        "machine": "a processor",
        "weights_sha256": "abc123",
        "tokens_per_second": 50.0,
        "peak_memory_bytes": 1e8,
        "seconds": 1.5,
        "final": EVAL,
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary | more))
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, LINES)))
    sums = {"round": 1, "loss_sum": 6.0, "correct": 1, "tokens": 10, "characters": 10}
    rows = [{**sums, "client": c, "loss_sum": 6.0 + c} for c in range(clients)]
    if rows:
        parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "clients.parquet")
    return tmp_path


def test_it_shows_configuration_seed_versions_and_hash(tmp_path: Path) -> None:
    page = write_report(folder(tmp_path)).read_text()
    for words in ("With seed 41", "<th>seed<td><code>41</code>", "2.21.0", "a processor", "abc123", "cohort_size"):
        assert words in page
    assert "n = 3 clients" in page and "Client updates that failed: 1 (rounds: 1)" in page
    assert "<b>mine</b>" not in page.replace("&lt;b&gt;mine&lt;/b&gt;", "")  # a corpus is named by its owner


@pytest.mark.parametrize(
    ("kernels", "says"),
    [
        ({}, None),
        ({"kernels": None}, None),
        ({"kernels": True}, "compiled kernels were used"),
        ({"kernels": False}, "not used"),
        ({"kernels": "compiled for AVX-512"}, "compiled for AVX-512"),
    ],
)
def test_it_says_whether_the_kernels_ran(tmp_path: Path, kernels: dict[str, Any], says: str | None) -> None:
    page = write_report(folder(tmp_path, **kernels)).read_text()
    assert ("<th>Kernels<td>" in page) == (says is not None)
    assert says is None or says in page


@pytest.mark.parametrize(("best", "says"), [(0.1, "has not passed the 5-gram"), (99.0, "is better than the 5-gram")])
def test_it_compares_the_model_with_ngrams(tmp_path: Path, best: float, says: str) -> None:
    page = write_report(folder(tmp_path, baselines={"unigram": 100.0, "5-gram": best, "tokens": 1234})).read_text()
    assert says in page and "(1,234 tokens)" in page and "5-gram (Witten-Bell)" in page
    assert "n-gram" not in write_report(folder(tmp_path)).read_text()  # of an earlier version


@pytest.mark.parametrize(
    ("more", "sent"),
    [
        ({}, "weight updates and figures"),  # of a version that did not tell
        ({"single_updates": False}, "sums of weight updates and figures"),
        ({"single_updates": True}, "each client&#39;s weight update and figures"),
        (
            {"single_updates": False, "private_vocabulary": "epsilon 1", "corpus": {**ABOUT, "deployment": True}},
            "a private vocabulary, sums of weight updates and figures",
        ),
    ],
)
def test_it_says_what_left_a_node(tmp_path: Path, more: dict[str, Any], sent: str) -> None:
    assert f"the nodes sent {sent}." in write_report(folder(tmp_path, **more)).read_text()


@pytest.mark.parametrize("clients", [0, 1])
def test_a_run_with_one_evaluated_client_or_none_has_a_report(tmp_path: Path, clients: int) -> None:
    page = write_report(folder(tmp_path, clients=clients)).read_text()
    assert ("Spread over clients" in page) == (clients > 0)


def test_under_differential_privacy_only_the_ledger_is_shown(tmp_path: Path) -> None:
    privacy = {
        "delta": 1e-5,
        "statement": "(1, 1e-05)-DP",
        "covers": "simulated clients",
        "coverage": ["simulated clients of a vault"],
        "assumptions": [],
        "accountant": "pld",
        "not_covered": ["loss"],
    }
    run = folder(tmp_path, privacy=privacy, final={})
    spent = [{"round": r, "epsilon": r / 2, "clip_norm": 0.5} for r in (1, 2)]
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, spent)))
    page = write_report(run).read_text()
    assert (
        "(1, 1e-05)-DP" in page and "epsilon (at delta 1e-05)" in page and "Upper bound for simulated clients" in page
    )
    assert "epsilon spent, for simulated clients" in page and "simulated clients of a vault" in page
    assert "Spread over clients" not in page and "held-out" not in page and "peak memory" not in page


def test_a_folder_without_a_summary_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"it has no summary\.json"):
        write_report(tmp_path)
