"""A process that crashes writes its memory to the disk: text and keys. None of ours may."""

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedlm.system.processes import marked, module_command
from tests.support.coordinators import coordinator
from tests.support.deployments import wait_until


def core_limits(process: int) -> list[str]:
    """Returns the soft and the hard limit of a process' core dumps."""
    (row,) = [r for r in Path(f"/proc/{process}/limits").read_text().splitlines() if r.startswith("Max core file size")]
    return row.split()[4:6]


def forbidden(process: int) -> bool:
    """Tells whether no crash of a process can leave a dump."""
    return set(core_limits(process)) in ({"1"}, {"0"})  # 0 where the machine forbade them before us


def dumping() -> None:
    """Allows core dumps of any size, as a user's shell may; of the largest size that this machine allows us."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):  # a container's root may lower a limit, and not raise it
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


@contextmanager
def started(words: list[str], cwd: Path, fds: tuple[int, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(words, cwd=cwd, stdout=quiet, stderr=quiet, preexec_fn=dumping, pass_fds=fds)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_command_line_forbids_its_dumps(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "in.jsonl")  # the command waits until somebody writes
    with started([sys.executable, "-m", "fedlm", "scrub", "in.jsonl", "out.jsonl"], tmp_path) as process:
        wait_until(lambda: forbidden(process.pid), 30)
        assert process.poll() is None


def test_a_worker_forbids_its_dumps(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    words = module_command("clients.worker", "--control", theirs.fileno())
    with ours, theirs, started(words, tmp_path, (theirs.fileno(),)) as process:
        wait_until(lambda: forbidden(process.pid), 30)
        assert process.poll() is None


@pytest.mark.parametrize("module", ["clients.deploy.supervisor", "clients.deploy.supernode", "fedlm.scrub.processes"])
def test_every_entry_forbids_them_first(module: str, tmp_path: Path) -> None:
    """Whatever a process is started with: it crashes in the call that follows, and leaves nothing."""
    code = (
        f"import os, sys; sys.argv[1:] = ['--socket', 'nothing']; import {module} as module; import argparse, json\n"
        "argparse.ArgumentParser.__init__ = json.loads = lambda *a, **k: os.abort()\nmodule.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, preexec_fn=dumping, capture_output=True, timeout=60
    )
    assert done.returncode == -6, done.stderr
    assert not list(tmp_path.glob("core*"))


@pytest.mark.flower
def test_coordinator_superlink_and_superexec_forbid_theirs() -> None:
    with coordinator() as running:
        wait_until(lambda: len(marked(running.home)) == 3, 30)
        for process in marked(running.home):
            wait_until(lambda process=process: forbidden(process), 10)  # type: ignore[misc]


@pytest.mark.parametrize("protected", [False, True])
def test_a_crash_leaves_no_file(tmp_path: Path, protected: bool) -> None:
    first = "from fedlm.system.memory import forbid_core_dumps as f; f(); " if protected else ""
    words = [sys.executable, "-c", f"{first}import os; os.abort()"]
    done = subprocess.run(words, cwd=tmp_path, preexec_fn=dumping, capture_output=True, timeout=60)
    assert done.returncode == -6, done.stderr
    found = list(tmp_path.glob("core*"))
    if not protected and not found:
        pytest.skip("this machine keeps core dumps elsewhere, or none at all")
    assert bool(found) != protected
