"""The program's first moment, its help, and how it ends."""

import errno
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from fedlm.__main__ import main
from fedlm.cli import main as command_line
from fedlm.config import RunConfig
from fedlm.errors import BudgetError, CohortError, ConfigError, CorpusError, FedLMWarning, VaultError
from tests.support.running import fedlm


class _Interrupted:
    """Ctrl-C while the command line is imported."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name == "fedlm.cli.main":
            raise KeyboardInterrupt


def test_ctrl_c_while_importing_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "fedlm.cli.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [_Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "fedlm: interrupted.\n"


def test_help_explains_arguments_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Some pairs of typer and click leave the help of arguments out."""
    monkeypatch.setattr(sys, "argv", ["fedlm", "simulate", "--help"])
    monkeypatch.setenv("COLUMNS", "200")
    main()
    assert "a corpus to prepare first" in capsys.readouterr().out


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['fedlm', '--help']\n"
        "from fedlm.cli.main import main; main()\n"
        "heavy = {'tensorflow', 'keras', 'ray', 'spacy', 'flwr', 'pandas', 'pyarrow', 'numpy', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ConfigError("a key is wrong."), 2, "fedlm: a key is wrong.\n"),
        (CorpusError("no text."), 3, "fedlm: no text.\n"),
        (VaultError("no key."), 3, "fedlm: no key.\n"),
        (CohortError("too few."), 4, "fedlm: too few.\n"),
        (BudgetError("spent."), 4, "fedlm: spent.\n"),
        (KeyboardInterrupt(), 130, "fedlm: interrupted; a run that has begun to train continues with --resume.\n"),
        (command_line.Terminated(15), 143, "fedlm: terminated by SIGTERM; a run that has begun to train continues"),
        (command_line.Terminated(1), 129, "fedlm: terminated by SIGHUP"),
        (OSError(errno.ENOSPC, "No space left on device"), 4, "fedlm: the disk is full; free some space."),
        (OSError(errno.EIO, "Input/output error", "a.db"), 4, "fedlm: Input/output error: a.db.\n"),
        (PermissionError(errno.EACCES, "Permission denied", "a.db"), 2, "fedlm: Permission denied: a.db.\n"),
        (ValueError("Hamlet's private letter"), 4, "fedlm: unexpected error, ValueError at test_command_line.py:"),
    ],
)
def test_each_error_has_its_exit_code_and_its_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, says: str
) -> None:
    def fail(arguments: list[str]) -> None:
        raise error

    monkeypatch.setattr(command_line, "_run", fail)
    done = fedlm("simulate", "shakespeare", cwd=tmp_path)
    assert (done.returncode, done.stderr.startswith(says), done.stderr.count("\n")) == (code, True, 1), done.stderr
    assert "Hamlet" not in done.stderr


def test_debug_shows_the_traceback_of_an_error_but_not_of_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_line, "_run", lambda arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fedlm("--debug", "models", cwd=tmp_path)

    def interrupt(arguments: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "_run", interrupt)
    assert fedlm("--debug", "models", cwd=tmp_path).returncode == 130


@pytest.mark.parametrize("words", [["simulat"], ["simulate"], ["scrub", "--thing"], ["vault", "show"]])
def test_wrong_usage_ends_with_2_and_says_how(tmp_path: Path, words: list[str]) -> None:
    done = fedlm(*words, cwd=tmp_path)
    assert done.returncode == 2 and "Usage:" in done.stderr and "Traceback" not in done.stderr


def test_a_warning_of_ours_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "_run", lambda arguments: warnings.warn("a key is old.", FedLMWarning, 1))
    done = fedlm("models", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "fedlm: a key is old.\n")


def test_config_prints_every_key_and_one_key(tmp_path: Path) -> None:
    every = fedlm("config", cwd=tmp_path).stdout
    keys = [line.partition(" = ")[0] for line in every.splitlines() if not line.startswith(" ")]
    assert keys == [name for name, info in RunConfig.model_fields.items() if not info.exclude]
    one = fedlm("config", "cohort-size", cwd=tmp_path).stdout
    assert one.startswith("cohort_size = 10  # whole number, >= 1\n") and len(one.splitlines()) == 2
    wrong = fedlm("config", "cohort", cwd=tmp_path)
    assert (wrong.returncode, "cohort_size" in wrong.stderr) == (2, True)
    hidden = fedlm("config", "vocabulary_text", cwd=tmp_path)
    assert (hidden.returncode, hidden.stderr.count("\n")) == (2, 1)


def test_every_command_and_every_argument_has_a_help() -> None:
    import typer.main

    left = [typer.main.get_command(command_line.app)]
    while left:
        command = left.pop()
        assert command.help, command.name
        left += getattr(command, "commands", {}).values()
        for each in command.params:
            assert getattr(each, "help", None), (command.name, each.name)
