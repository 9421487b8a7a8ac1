"""What an author sees of a plug-in that fails on a worker, and what never leaves a node: the text of an exception."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clients.failures import places, tell
from fedlm.errors import ConfigError, PluginError, VaultError
from fedlm.plugins.calls import loading, running
from fedlm.system.processes import DEBUG
from tests.support.runs import ROOT
from tests.support.unlearned import seal

TEXT = "Dear Hamlet"


def _raise() -> None:
    raise KeyError(TEXT)


def unexpected() -> None:
    try:
        _raise()
    except KeyError as error:
        raise RuntimeError(TEXT) from error


def plugin_runs() -> None:
    with running("algorithm mine:Rule", "train", __name__):
        _raise()


def plugin_loads() -> None:
    with loading("The algorithm 'mine:Rule' cannot be loaded", __name__):
        _raise()


def raised(by: Callable[[], None]) -> Exception:
    try:
        by()
    except Exception as error:  # noqa: BLE001 - as the ClientApp's border
        return error
    raise AssertionError


@pytest.mark.parametrize("debug", ["", "1"])
@pytest.mark.parametrize("by", [unexpected, plugin_runs, plugin_loads])
def test_no_text_of_an_exception_leaves_a_deployed_node_or_stays_in_its_log(
    by: Callable[[], None], debug: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(DEBUG, debug)
    sentence, log = tell(raised(by), keeps_log=True), capsys.readouterr().err
    assert "Hamlet" not in sentence + log and "\n" not in sentence
    assert "test_failures.py" in log and "in _raise" in log and "KeyError" in log
    assert ("see the node's log" in sentence) == (by is unexpected)
    assert ("KeyError at test_failures.py:" in sentence) == (by is not unexpected)


@pytest.mark.parametrize("by", [unexpected, plugin_runs, plugin_loads])
def test_on_ones_own_machine_a_traceback_is_shown_on_request(
    by: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(DEBUG, raising=False)
    sentence = tell(raised(by), keeps_log=False)
    assert capsys.readouterr().err == ""
    assert ("Hamlet" in sentence) == (by is plugin_loads)  # when it loads, no text of a client is open
    assert by is not unexpected or "fedlm --debug" in sentence
    monkeypatch.setenv(DEBUG, "1")
    tell(raised(by), keeps_log=False)
    shown = capsys.readouterr().err
    assert "Traceback" in shown and f"KeyError: '{TEXT}'" in shown


@pytest.mark.parametrize("error", [VaultError("It does not open."), ConfigError("rounds is wrong.")])
@pytest.mark.parametrize("keeps_log", [True, False])
def test_a_sentence_of_ours_is_passed_on_and_needs_no_log(
    error: Exception, keeps_log: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell(error, keeps_log=keeps_log) == str(error) and capsys.readouterr().err == ""


def test_a_cause_that_goes_in_a_circle_ends() -> None:
    one, two = KeyError(TEXT), ValueError(TEXT)
    one.__cause__, two.__cause__ = two, one
    assert 0 < places(one).count("ValueError") < 20


def test_a_plugin_error_has_a_sentence_for_others() -> None:
    assert PluginError("It says why.", "It fails.").told == "It fails." and PluginError("It fails.").told == "It fails."


@pytest.mark.slow
@pytest.mark.flower
def test_debug_shows_the_traceback_of_a_worker(tmp_path: Path) -> None:
    vault = seal(tmp_path / "v")
    (tmp_path / "mine.py").write_text(
        "from fedlm.algorithms.base import Algorithm\n\n\n"
        "class Rule(Algorithm):\n    is_plain = False\n\n    def train(self, task):\n        return {}['a' 'b']\n"
    )
    sets = ["algorithm=mine:Rule", "rounds=1", "cohort_size=6", "model=lstm(units=4, layers=1)", "seq_len=12"]
    words = [
        "--debug",
        "simulate",
        str(vault),
        "--out",
        "run",
        "--workers",
        "1",
        *(w for s in sets for w in ("--set", s)),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "fedlm", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "KeyError: 'ab'" in done.stderr and 'mine.py", line 8, in train' in done.stderr  # of the worker
    assert "none of 6 clients could be trained: 6 got no usable reply (The algorithm mine:Rule failed in train(): " in (
        done.stderr
    )
    assert "KeyError at mine.py:8)" in done.stderr
