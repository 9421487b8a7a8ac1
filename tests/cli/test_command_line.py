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
    command_line.main()  # the program's own `main` also forbids core dumps, for the rest of the process' life
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
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("fedlm: ") and done.stderr.endswith(" --help.\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["generate", "run", "--length", "-5"],
            "Invalid value for --length: -5 is not a number >= 0; see fedlm generate",
        ),
        (["generate", "run", "--length", "nan"], "Invalid value for --length: 'nan' is not a whole number; see"),
        (["generate", "run", "--temperature", "abc"], "Invalid value for --temperature: 'abc' is not a number; see"),
        (
            ["generate", "run", "--temperature", "nan"],
            "Invalid value for --temperature: nan is not a finite number >= 0.",
        ),
        (["generate", "run", "--top-k", "-1"], "Invalid value for --top-k: -1 is not a number >= 0."),
        (["generate", "run", "--top-p", "0"], "Invalid value for --top-p: 0.0 is not a number > 0 and <= 1."),
        (
            ["deploy", "server", "d", "--port", "0"],
            "Invalid value for --port: 0 is not a number >= 1 and <= 65535; see",
        ),
        (["privacy", "show", "run", "--delta", "0"], "Invalid value for --delta: 0.0 is not a number > 0 and < 1."),
        (["simulate", "v.db", "--out"], "Option --out requires an argument; see fedlm"),
        (["simulate"], "Missing argument CORPUS; see fedlm simulate --help."),
        (["forget", "x"], "Missing option --run; see fedlm forget --help."),
    ],
)
def test_an_option_out_of_range_is_one_sentence_with_the_range(tmp_path: Path, words: list[str], says: str) -> None:
    done = fedlm(*words, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith(f"fedlm: {says}")


@pytest.mark.parametrize(
    "words",
    [
        ["prepare", "synthetic(clients=2)", "file"],
        ["simulate", "synthetic(clients=2)", "--out", "file"],
        ["scrub", "in.jsonl", "file"],
        ["vocabulary", "public.txt", "file"],
        ["deploy", "init", "file"],
        ["study", "quantity_imbalance", "--quick", "--out", "file"],
        ["tune", "synthetic(clients=2)", "--grid", "local_epochs=1,2", "--out", "file"],
    ],
)
@pytest.mark.parametrize("place", ["file", "file/below", "no/such"])
def test_an_output_that_cannot_be_made_is_wrong_usage(tmp_path: Path, words: list[str], place: str) -> None:
    """Whatever is made: what exists is never overwritten, and a folder that is a file is a sentence, before any work."""
    (tmp_path / "file").write_text("mine")
    folders = ("simulate", "deploy", "study", "tune")  # these make the folders above theirs
    if place == "no/such" and words[0] in folders:
        pytest.skip("it would be made")
    done = fedlm(*[place if w == "file" else w for w in words], cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("what", ["nothing", "file", "folder"])
@pytest.mark.parametrize(
    "words",
    [
        ["simulate", "synthetic(clients=2)", "--out", "HERE", "--resume"],
        ["simulate", "synthetic(clients=2)", "--out", "new", "--init", "HERE"],
        ["evaluate", "HERE"],
        ["generate", "HERE"],
        ["report", "HERE"],
        ["privacy", "HERE"],
        ["forget", "name", "--run", "HERE"],
        ["vault", "show", "HERE"],
        ["vault", "verify", "HERE"],
        ["vault", "rotate", "HERE"],
        ["vault", "forget", "HERE", "name"],
        ["vault", "add", "HERE", "synthetic(clients=2)"],
        ["deploy", "up", "HERE"],
        ["deploy", "run", "HERE"],
        ["deploy", "status", "HERE"],
        ["deploy", "down", "HERE"],
        ["deploy", "add", "HERE", "node.key.pub"],
        ["deploy", "node", "HERE", "--new-key"],
        ["prepare", "HERE", "new.db"],
        ["scrub", "HERE", "new.jsonl"],
        ["tune", "HERE", "--grid", "local_epochs=1,2", "--out", "new"],
    ],
)
def test_an_input_that_is_not_what_it_should_be_is_a_data_error(tmp_path: Path, words: list[str], what: str) -> None:
    here = tmp_path / "here"
    if what == "file":
        here.write_text("hello\n")
    elif what == "folder":
        here.mkdir()
    done = fedlm(*["here" if w == "HERE" else w for w in words], cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
    assert done.stderr.startswith("fedlm: ") and "unexpected" not in done.stderr


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


def test_the_name_of_a_file_steers_no_terminal(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "a\x1b[31m\u202e\x9bb.txt").write_bytes(b"\xff")
    done = fedlm("prepare", "f", "v.db", cwd=tmp_path)
    assert done.returncode == 3
    assert r"a\x1b[31m\u202e\x9bb.txt is not text in UTF-8" in done.stderr
    assert not set("\x1b\u202e\x9b") & set(done.stderr)
