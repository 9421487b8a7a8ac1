"""A round's time and memory with few clients and with a million: the cost must go with the cohort, not with the population.

    python -m benchmarks.population [--clients 1000 1000000] [--rounds 30]

Writes a .jsonl with two short messages a client, prepares it (peak memory is reported), and trains rounds of 10 clients.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.measure import processor, table

MODEL = "lstm"


def prepared(folder: Path, clients: int) -> dict[str, float]:
    """Seals a corpus in this process; returns seconds and peak memory in megabytes."""
    from fedlm.config import RunConfig
    from fedlm.preparation.vault import prepare
    from fedlm.vault.keys import KeySource

    corpus = folder / "corpus.jsonl"
    with corpus.open("w") as file:
        for place in range(2 * clients):  # a client's messages lie far apart, as in a log
            text = f"message {place} of somebody who writes now and then about the weather and the sea"
            file.write(json.dumps({"user": f"u{place % clients}", "text": text}) + "\n")
    config, started = RunConfig.checked({"scrub": "none"}), time.monotonic()
    prepare(str(corpus), folder / "v.db", KeySource(folder / "v.key"), config, lambda done, total: None)
    return {"seconds": time.monotonic() - started, "megabytes": _peak(resource.RUSAGE_SELF)}


def trained(folder: Path, rounds: int) -> dict[str, float]:
    """Trains; returns the median round in seconds, and the peak memory of this process and of the largest worker."""
    from fedlm.config import RunConfig
    from fedlm.vault.keys import KeySource
    from server.engines.local import LocalEngine
    from server.engines.workers import WorkerCommand
    from server.run.federation import Federation
    from server.store.run_folder import RunFolder

    settings = {"scrub": "none", "model": MODEL, "rounds": rounds, "eval_every": 10**6, "eval_clients": 10}
    config, times = RunConfig.checked(settings), list[float]()

    def tick(_: dict[str, Any]) -> None:
        times.append(time.perf_counter())

    with LocalEngine(WorkerCommand(folder / "v.db", KeySource(folder / "v.key").file), 2) as engine:
        run = Federation(engine, config, RunFolder.create(folder / "run", config), tick)
        run.start()
        run.run()
    seconds = [b - a for a, b in pairwise(times[2:-1])]  # without the evaluated rounds and the warm-up
    peaks = {"server": _peak(resource.RUSAGE_SELF), "worker": _peak(resource.RUSAGE_CHILDREN)}
    return {"seconds": statistics.median(seconds), **peaks}


def _peak(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


def _in_process(step: str, folder: Path, number: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.population", "--one", step, str(folder), str(number)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "FLWR_TELEMETRY_ENABLED": "0"}
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measures each population in separate processes and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--one", nargs=3, metavar=("STEP", "FOLDER", "NUMBER"), help="one measurement, as JSON")
    args = parser.parse_args()
    if args.one:
        step, folder, number = args.one
        print(json.dumps({"prepare": prepared, "train": trained}[step](Path(folder), int(number))))
        return
    body = []
    for clients in args.clients:
        with tempfile.TemporaryDirectory() as name:
            sealing = _in_process("prepare", Path(name), clients)
            training = _in_process("train", Path(name), args.rounds)
        memory = (f"{training['server']:,.0f}", f"{training['worker']:,.0f}", f"{sealing['megabytes']:,.0f}")
        body.append((f"{clients:,}", f"{training['seconds']:.3f}", *memory, f"{sealing['seconds']:.0f}"))
        print(body[-1], file=sys.stderr)
    head = ("clients", "round, s", "server, MB", "worker, MB", "preparing, MB", "preparing, s")
    print(table(head, body))
    print(processor())


if __name__ == "__main__":
    main()
