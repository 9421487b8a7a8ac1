"""The examples in docstrings of measures, reports and studies run."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [
    f
    for folder in ("fedlm/measure", "fedlm/report", "scenarios/runner", "scenarios/tuning")
    for f in (ROOT / folder).glob("*.py")
]
NAMES = sorted(".".join(f.relative_to(ROOT).with_suffix("").parts) for f in FILES if ">>>" in f.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_examples_run(name: str) -> None:
    done = doctest.testmod(import_module(name))
    assert done.attempted and not done.failed
