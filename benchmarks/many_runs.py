"""Many commands in a row, ended in every way: what do they leave behind?

    python -m benchmarks.many_runs [--runs 50] [--seed 1]

The commands train on one small vault. Most end by themselves; of ten, one is interrupted, one terminated and one killed in
between, and one has a setting that is refused. Home, temporary folder and working folder are their own. Afterwards the processes that still
run, the names in /dev/shm and the files besides the runs' folders are compared with those before. Exits 1 if anything is left,
or if a command ends other than it should.
"""

import argparse
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SHARED = Path("/dev/shm")  # noqa: S108
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: processes whose parent ends become ours
_SETTINGS = ("rounds=20", "cohort_size=2", "model=lstm(units=8, layers=1)", "seq_len=20", "eval_every=10", "workers=1")
_SECONDS = 120.0  # for one command
_GRACE_SECONDS = 10.0  # for the processes of a command that was killed


@dataclass(frozen=True)
class Way:
    """How a command ends: by itself, or by a signal; and with which exit codes."""

    name: str
    codes: tuple[int, ...]
    number: int = 0
    settings: tuple[str, ...] = ()


END = Way("to the end", (0,))
WAYS = (
    END,
    Way("killed", (-9, 0), signal.SIGKILL),
    END,
    Way("interrupted", (130, 0), signal.SIGINT),
    END,
    Way("terminated", (143, 0), signal.SIGTERM),
    END,
    Way("refused", (2,), settings=("rounds=-1",)),
    END,
    END,
)


def main() -> None:
    """Runs the commands and prints what is left."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    raise SystemExit(0 if nothing_left(args.runs, args.seed) else 1)


def nothing_left(runs: int, seed: int) -> bool:
    """Runs commands; returns whether each ended as it should and left nothing."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    rng, shared, ended = np.random.default_rng(seed), _names(SHARED), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="many-runs-") as folder, contextlib.chdir(folder):
        environment = {**os.environ, **{k: _made(v) for k, v in (("HOME", "home"), ("TMPDIR", "tmp"))}}
        _command(["prepare", "synthetic(clients=4)", "v.db", "--scrub", "none"], environment)
        _ended(END, -1, environment, rng)  # makes the caches that stay in a home: matplotlib's list of fonts
        before = _files()
        for number in range(runs):
            way = WAYS[number % len(WAYS)]
            code = _ended(way, number, environment, rng)
            ended[f"{way.name}: exit {code}" + ("" if code in way.codes else " (wrong)")] += 1
            print(f"{number + 1}/{runs} {way.name}: exit {code}", flush=True)
        left = [*_processes(), *sorted(_names(SHARED) - shared), *sorted(_files() - before)]
    print(*(f"{count} {what}" for what, count in sorted(ended.items())), sep="\n")
    print(f"left behind: {left or 'nothing'}")
    return not left and not any("wrong" in what for what in ended)


def _ended(way: Way, number: int, environment: dict[str, str], rng: np.random.Generator) -> int:
    words = [w for s in (*_SETTINGS, *way.settings) for w in ("--set", s)]
    with _started(["simulate", "v.db", "--out", f"runs/{number}", *words], environment) as process:
        if way.number:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0.5, 12.0))
            process.send_signal(way.number)
        return process.wait(_SECONDS)


def _command(words: list[str], environment: dict[str, str]) -> None:
    with _started(words, environment) as process:
        if process.wait(_SECONDS):
            raise SystemExit(f"fedlm {words[0]} failed")


@contextlib.contextmanager
def _started(words: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "fedlm", *words]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield process


def _processes() -> list[str]:
    """The processes that commands have left, after some seconds to end by themselves."""
    end = time.monotonic() + _GRACE_SECONDS
    while (children := _children()) and time.monotonic() < end:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.2)
    return [
        f"process {c}: {Path(f'/proc/{c}/cmdline').read_bytes().replace(bytes(1), b' ').decode()}" for c in children
    ]


def _children() -> list[int]:
    own = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(c) for c in own if Path(f"/proc/{c}/stat").read_text().rpartition(")")[2].split()[0] != "Z"]


def _made(name: str) -> str:
    folder = Path(name).absolute()
    folder.mkdir()
    return str(folder)


def _names(folder: Path) -> set[str]:
    return {str(file) for file in folder.iterdir()}


def _files() -> set[str]:
    """The files of the working folder, with home and temporary folder; of the runs only that they are there."""
    return {str(f) for f in Path.cwd().rglob("*") if Path("runs") not in f.relative_to(Path.cwd()).parents} - {
        str(Path.cwd() / "runs")
    }


if __name__ == "__main__":
    main()
