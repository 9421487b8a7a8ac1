"""Study folders of the version before."""

import json
import warnings
from pathlib import Path

import pytest

from fedlm.report.legacy import current_format
from fedlm.report.study import write_study_report

OLD = Path(__file__).with_name("study_format_1.json")


def test_a_study_of_the_version_before_opens_with_one_warning(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(OLD.read_text())
    with pytest.warns(FutureWarning, match="earlier version") as caught:
        page = write_study_report(tmp_path).read_text()
    assert len(caught) == 1
    assert (
        "held-out bits per character; lower is better" in page and "95 % t-interval" in page and "earlier" not in page
    )
    assert len(list((tmp_path / "paper").glob("*.svg"))) >= 4


def test_the_current_format_is_read_as_it_is() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        content = current_format(json.loads(OLD.read_text()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert current_format(content) == content
    cells = [cell for r in content["table"] for cell in r["cells"].values() if "difference" in cell]
    assert cells and all(set(c["difference"]) == {"mean", "low", "high", "count", "hedges_g"} for c in cells)
    assert content["contrasts"] == [] and "bootstrap" not in content["method"]


def test_brackets_of_the_version_before_are_computed_anew_from_the_runs() -> None:
    old = json.loads(OLD.read_text())
    bits = {"even": (6.0, 7.0), "some": (6.3, 7.1)}
    old["runs"] = [
        {"condition": c, "algorithm": "FedAvg", "seed": s, "figures": {"bits_per_char": b}}
        for c, values in bits.items()
        for s, b in enumerate(values)
    ]
    with pytest.warns(FutureWarning):
        even, some, *rest = current_format(old)["table"]
    # Two seeds: t(0.975, 1) s / sqrt(2) with s = |d1 - d2| / sqrt(2)
    assert even["cells"]["bits_per_char"]["high"] - 6.5 == pytest.approx(12.706 / 2, rel=1e-4)
    difference = some["cells"]["bits_per_char"]["difference"]
    assert difference["mean"] == pytest.approx(0.2) and difference["high"] == pytest.approx(
        0.2 + 12.706 * 0.2 / 2, rel=1e-4
    )
    assert all(c["low"] is None and c["mean"] is not None for row in rest for c in row["cells"].values())
