"""`fedlm models` names every model with its options, and counts the literature's two."""

import json
from pathlib import Path

import pytest

from fedlm.models.catalog import is_pretrained, model_names, model_options
from tests.support.running import fedlm

pytestmark = pytest.mark.slow


def test_lists_every_model_and_the_published_counts(tmp_path: Path) -> None:
    done = fedlm("models", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    counts = {(row["model"], row["vocab_size"]): row["parameters"] for row in rows}
    assert counts["lstm", 90] == 820_522  # McMahan et al. 2017
    assert counts["lstm(units=670, layers=1, embedding=96, projection=96)", 10_004] == 4_050_748  # Reddi et al. 2021
    listed = {row["model"]: row["options"] for row in rows if row["options"]}
    assert listed == {name: model_options(name) for name in model_names()}
    assert all(counts[name, 128] > 0 for name in model_names() if not is_pretrained(name))
    shown = fedlm("models", cwd=tmp_path).stdout
    for name, options in listed.items():
        assert f"  {name}  (" in shown and all(f"{option}={value!r}" in shown for option, value in options.items())
    assert "820,522" in shown and "4,050,748" in shown
