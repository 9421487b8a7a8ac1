"""What tests with a deployment of real processes share: commands, processes and their ends, lines of a run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fedlm.system.processes import marked

ROUNDS = 5
SMALL = [
    "scrub=patterns",
    "max_clients=8",
    f"rounds={ROUNDS}",
    "cohort_size=4",
    "eval_every=5",
    "model=lstm(units=8)",
    "timeout=600",  # a busy machine is no fault
]


def sets(settings: Sequence[str] = SMALL) -> list[str]:
    """Returns settings as words of a command line."""
    return [w for s in settings for w in ("--set", s)]


def start(cwd: Path, *arguments: object) -> subprocess.Popen[str]:
    """Starts a command of fedlm."""
    words = [sys.executable, "-m", "fedlm", *map(str, arguments)]
    return subprocess.Popen(words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def fedlm(*arguments: object, cwd: Path, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    """Runs a command of fedlm."""
    words = [sys.executable, "-m", "fedlm", *map(str, arguments)]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=timeout)


def finish(process: subprocess.Popen[str], timeout: float = 900) -> str:
    """Returns what a command that was started has written, if it ended well."""
    out, error = process.communicate(timeout=timeout)
    assert process.returncode == 0, error
    return out


def processes(folder: Path) -> dict[int, str]:
    """Returns the command of every process of a deployment."""
    found = {}
    for process in marked(folder):
        try:
            found[process] = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def kill_one(folder: Path, words: str, place: int = 0) -> bool:
    """Kills one process of the deployment whose command has the words; returns whether there was one."""
    victims = [p for p, command in sorted(processes(folder).items()) if words in command]
    if not victims:
        return False
    try:
        os.kill(victims[place % len(victims)], signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Returns once a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)


def lines(run: Path) -> list[dict[str, Any]]:
    """Returns the whole lines of a run's metrics."""
    file = run / "metrics.jsonl"
    return [json.loads(text) for text in file.read_text().splitlines() if text.endswith("}")] if file.is_file() else []
