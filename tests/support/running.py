"""The command line in this process, over workers that all tests share: TensorFlow loads once, a model compiles once.

`tests/test_end_to_end.py` starts real processes where a process is the point: kills, start-up noise, exit codes.
"""

import atexit
import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from fedlm.cli import main
from server.engines import local
from server.engines.workers import KeptWorkers

SMALL = ["scrub=patterns", "max_clients=6", "rounds=2", "cohort_size=3", "eval_every=1"]
SMALL += ["model=lstm(units=8, layers=1)"]
WORKERS = KeptWorkers()
atexit.register(WORKERS.__exit__)


@contextlib.contextmanager
def kept_workers() -> Iterator[None]:
    """Lets every run of this process use the workers that all tests share."""
    with mock.patch.object(local, "run", partial(local.run, idle=WORKERS)):
        yield


def fedlm(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command as `python -m fedlm` would; what a worker writes to its own stderr is not in the result."""
    words, out, err, code = list(map(str, arguments)), io.StringIO(), io.StringIO(), 0
    with (
        kept_workers(),
        contextlib.chdir(cwd),
        mock.patch.object(sys, "argv", ["fedlm", *words]),
        mock.patch.dict("os.environ"),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def simulate(out: str, cwd: Path, *more: object, corpus: str = "shakespeare", settings: list[str] = SMALL) -> Any:
    """Runs `fedlm simulate`; returns the content of summary.json."""
    sets = [w for s in settings for w in ("--set", s)]
    done = fedlm("simulate", corpus, *sets, "--out", out, "--json", *more, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)
