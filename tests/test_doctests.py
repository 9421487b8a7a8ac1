"""Every example in a docstring runs, and prints what it says."""

import contextlib
import doctest
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
FACE = [f"fedlm.api.{name}" for name in ("inputs", "preparing", "training", "run", "inference")]
"""The Python API, in the order in which a user goes: each example uses what the ones before it made."""
HEAVY = ("fedlm/layers", "fedlm/models", "fedlm/training", "clients", "server", "scenarios")
OPTIONS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


def with_examples() -> Iterator[object]:
    for file in sorted(p for top in ("fedlm", "clients", "server", "scenarios") for p in (ROOT / top).rglob("*.py")):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        if ">>> " in file.read_text(encoding="utf-8") and name not in FACE:
            slow = str(file.relative_to(ROOT)).startswith(HEAVY)
            yield pytest.param(name, marks=pytest.mark.slow if slow else [], id=name)


def failures(module: ModuleType) -> list[str]:
    """Runs the examples of a module, in the order of its lines; returns what went wrong."""
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    for case in sorted(doctest.DocTestFinder().find(module), key=lambda case: case.lineno or 0):
        runner.run(case, out=said.append)
    return said if runner.failures else []


@pytest.mark.parametrize("name", list(with_examples()))
def test_examples(name: str, tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        assert failures(import_module(name)) == []


@pytest.mark.slow
@pytest.mark.flower
def test_the_examples_of_the_python_face_run_one_after_the_other(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        for name in FACE:
            assert failures(import_module(name)) == [], name
