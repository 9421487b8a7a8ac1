"""What a worker more adds, how soon the first round begins, and whether the weights have the same bits for any number.

    python -m benchmarks.scaling [--workers 1 2 3] [--rounds 12] [--repeats 3]

Starts `fedlm simulate` on a prepared vault, in turn with each number of workers. Rates are medians over rounds, evaluation left out.
Cohorts differ, and a round is the same work whoever does it: how much sooner it is done is taken round by round, within each repetition.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import work
from benchmarks.measure import processor, table

FEDLM = [sys.executable, "-m", "fedlm"]


@dataclass(frozen=True)
class Run:
    """One run: tokens and seconds of its rounds, without the first ones, seconds until the first began, hash of the weights."""

    tokens: list[int]
    seconds: list[float]
    start: float
    weights_sha256: str

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return statistics.median(n / s for n, s in zip(self.tokens, self.seconds, strict=True))


def once(vault: Path, out: Path, workers: int, rounds: int) -> Run:
    """Runs once."""
    settings = [f"rounds={rounds}", "eval_every=1000000", "eval_clients=10", "batch_size=10"]
    sets = [word for s in settings for word in ("--set", s)]
    command = [*FEDLM, "simulate", str(vault), *sets, "--workers", str(workers), "--out", str(out), "--json"]
    started, begun = time.time(), 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as running:
        while running.poll() is None and not begun:
            metrics = out / "metrics.jsonl"
            begun = (
                time.time() if metrics.is_file() and metrics.stat().st_size else 0.0
            )  # round 0 is written: training starts
            time.sleep(0.02)
        assert running.stdout is not None
        summary = json.loads(running.stdout.read())
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()][1 + work.WARM_UP :]
    seconds = [m["seconds"] for m in lines]
    return Run([m["tokens"] for m in lines], seconds, begun - started, summary["weights_sha256"])


def times(first: list[Run], runs: list[Run]) -> float:
    """Returns how many times as fast a round is done."""
    pairs = zip(first, runs, strict=True)
    return statistics.median(a / b for one, other in pairs for a, b in zip(one.seconds, other.seconds, strict=True))


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    found: dict[int, list[Run]] = {n: [] for n in args.workers}
    with tempfile.TemporaryDirectory() as name:
        vault = Path(name) / "v.db"
        subprocess.run(
            [*FEDLM, "prepare", "shakespeare", str(vault), "--scrub", "none"], check=True, capture_output=True
        )
        for repeat in range(args.repeats):
            for workers in args.workers:
                found[workers].append(once(vault, Path(name) / f"{repeat}-{workers}", workers, args.rounds))
    body = []
    for workers, runs in found.items():
        rate, start = (statistics.median(getattr(r, k) for r in runs) for k in ("rate", "start"))
        body.append((workers, f"{rate:,.0f}", f"{times(found[args.workers[0]], runs):.2f}", f"{start:.1f}"))
    print(table(("workers", "tokens/s", "times the first", "s to the first round"), body))
    hashes = {run.weights_sha256 for runs in found.values() for run in runs}
    print(f"weights_sha256: {len(hashes)} value(s) over {args.repeats * len(found)} runs")
    print(processor())


if __name__ == "__main__":
    main()
