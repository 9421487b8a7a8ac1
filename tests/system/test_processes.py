"""Child processes: their variables, their ends, and a supervisor that starts them again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fedlm.errors import FedLMError
from fedlm.system import processes
from fedlm.system.processes import (
    MARK,
    Child,
    child_environment,
    end,
    last_line,
    marked,
    module_command,
    rotate_log,
    start,
)


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not come about"
        time.sleep(0.02)


def test_a_trainer_has_huge_pages_unless_its_caller_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert "GLIBC_TUNABLES" not in child_environment()
    assert child_environment(huge_pages=True)["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=1")
    assert child_environment(huge_pages=True)["GLIBC_TUNABLES"] == "glibc.malloc.check=1"


def test_a_child_has_our_variables_one_thread_and_what_its_caller_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FLWR_TELEMETRY_ENABLED": "1", "OMP_NUM_THREADS": "7", "MPLBACKEND": "gtk3agg"}.items():
        monkeypatch.setenv(name, value)
    found = child_environment({"A": "1", "TZ": "UTC"})
    assert (found["FLWR_TELEMETRY_ENABLED"], found["OMP_NUM_THREADS"], found["MPLBACKEND"]) == ("0", "1", "agg")
    assert (found["A"], found["TZ"]) == ("1", "UTC")


def test_a_module_of_ours_runs_and_not_one_that_is_named_like_it_in_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("print('theirs')")
    (tmp_path / "fedlm.py").write_text("print('theirs')")
    done = subprocess.run(module_command("fedlm", "--help"), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "theirs" not in done.stdout and "simulate" in done.stdout


def test_a_process_has_a_session_of_its_own_its_variables_and_its_log(tmp_path: Path) -> None:
    code = "import json, os; print(json.dumps([os.getsid(0) == os.getpid(), os.environ['A']]))"
    process = start([sys.executable, "-c", code], child_environment({"A": "b"}), log=tmp_path / "log")
    assert end(process, 20) == 0
    assert json.loads((tmp_path / "log").read_text()) == [True, "b"]


def test_a_process_that_does_not_end_is_killed_and_told_apart(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    assert end(start([sys.executable, "-c", code], child_environment()), 0.2) is None
    assert end(start([sys.executable, "-c", "raise SystemExit(3)"], child_environment()), 20) == 3


def test_a_descriptor_is_inherited_and_pipes_are_connected() -> None:
    read, write = os.pipe()
    code = f"import os, sys; os.write({write}, b'x'); print(sys.stdin.read().upper())"
    process = start([sys.executable, "-c", code], child_environment(), pass_fds=[write], piped=True)
    os.close(write)
    said, _ = process.communicate(b"hello")
    assert (os.read(read, 9), said) == (b"x", b"HELLO\n")
    os.close(read)


def test_a_child_is_started_again_and_only_its_last_output_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_RESTART_SECONDS", 0.0)
    before: list[int] = []
    code = "import sys, time; print('started', flush=True); time.sleep(60)"
    child = Child([sys.executable, "-c", code], tmp_path / "log", child_environment(), lambda: before.append(1))
    assert not child.alive and child.code is None and child.output == ""
    for starts in (1, 2):
        child.watch()
        child.watch()  # runs: nothing happens
        until(lambda: child.output == "started\n")
        assert child.alive and len(before) == starts
        assert child.process is not None
        if starts == 1:
            child.process.kill()
            until(lambda: not child.alive)
            assert child.code == -signal.SIGKILL
    assert (tmp_path / "log").read_text() == "started\n" * 2
    child.stop()
    assert child.code == -signal.SIGTERM


def dying(code: str, log: Path, said: list[str]) -> Child:
    return Child([sys.executable, "-c", code], log, child_environment(), say=said.append)


def ended(child: Child, times: int) -> None:
    for _ in range(times):
        child.watch()
        until(lambda: not child.alive)


def test_a_child_that_dies_at_import_is_told_once_and_given_up_with_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_RESTART_SECONDS", 0.0)
    said: list[str] = []
    child = dying("import no_such_module", tmp_path / "worker.log", said)
    ended(child, 5)
    with pytest.raises(FedLMError, match=r"worker did not start: .*No module named 'no_such_module' \(5 times; see "):
        child.watch()
    assert len(said) == 1 and said[0].endswith("No module named 'no_such_module'; trying again")


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit(0)",
        "import os; os.kill(os.getpid(), 9)",
        "raise SystemExit(str(__import__('time').time_ns()))",
    ],
)
def test_ends_of_other_kinds_are_no_failure_to_start(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_RESTART_SECONDS", 0.0)
    ended(dying(code, tmp_path / "x.log", []), 7)


def test_a_child_that_was_ready_starts_again_however_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_RESTART_SECONDS", 0.0)
    said: list[str] = []
    child = dying("raise SystemExit(1)", tmp_path / "x.log", said)
    for _ in range(7):
        ended(child, 1)
        child.ready()
    assert said == []


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death is a signal on Linux only")
def test_a_child_dies_with_its_supervisor_and_is_found_by_its_mark(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom fedlm.system.processes import *\n"
        f"more = {{{MARK!r}: sys.argv[1]}}\n"
        "sleeper = [sys.executable, '-c', 'import time; time.sleep(60)']\n"
        "child = Child(sleeper, Path(sys.argv[1]) / 'log', child_environment(more))\n"
        "child.watch()\nprint(child.process.pid, flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        until(lambda: marked(tmp_path) == [child])
        parent.kill()
    until(lambda: marked(tmp_path) == [])


@pytest.mark.parametrize(("text", "last"), [("", ""), ("\n \n", ""), ("a\nb \n\n", "b")])
def test_the_last_line_of_a_log(text: str, last: str) -> None:
    assert last_line(text) == last


def test_a_log_that_has_grown_is_moved_and_its_writer_goes_on(tmp_path: Path) -> None:
    log, older = tmp_path / "x.log", tmp_path / "x.log.1"
    rotate_log(log, 10)  # there is none
    with log.open("ab", buffering=0) as writer:
        log.chmod(0o600)
        writer.write(b"0123456789")
        rotate_log(log, 10)
        assert not older.exists()
        for content in (b"a", b"0123456789b"):
            writer.write(content)
            rotate_log(log, 10)
            assert log.read_bytes() == b"" and older.read_bytes().endswith(content)
        writer.write(b"c")
    assert (log.read_bytes(), older.read_bytes()) == (b"c", b"0123456789b")
    assert older.stat().st_mode & 0o777 == 0o600


def test_a_child_that_is_started_again_begins_a_log_that_had_grown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_RESTART_SECONDS", 0.0)
    log = tmp_path / "x.log"
    log.write_bytes(b"x" * (2**23 + 1))
    child = Child([sys.executable, "-c", "print('hello')"], log, child_environment())
    child.watch()
    until(lambda: child.code == 0)
    assert child.output == log.read_text() == "hello\n"
