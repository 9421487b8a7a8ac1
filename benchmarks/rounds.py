"""Whole rounds, 10 of 100 clients, in fedlm and in other systems: the same work, interleaved, medians.

    python -m benchmarks.rounds [--batches 1 10] [--repeats 3] [--others .venv-others/bin/python] [--only fedlm pfl]

pfl-research, PyTorch and FedJAX need a separate environment (`make others`); systems that are not installed are skipped
with a word. Evaluation is off everywhere. The last column is the share of the machine's float32 GEMM rate, two processes of
one thread, at 6 operations per matrix weight and token.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.measure import ONE_THREAD, machine_rate, processor, run_json, table
from benchmarks.work import flops_per_token

TWO_PROCESSES = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def commands(batches: int, others: str) -> dict[str, list[str]]:
    """Returns each system's command by its short name."""
    own, number = [sys.executable, "-m"], str(batches)
    return {
        "fedlm": [*own, "benchmarks.systems.fedlm_local", number],
        "flower": [*own, "benchmarks.systems.flower_quickstart", number],
        "pfl": [others, *TWO_PROCESSES, "-m", "benchmarks.systems.pfl_torch", number, "1"],
        "pfl-threads": [others, "-m", "benchmarks.systems.pfl_torch", number, "2"],
        "fedjax": [others, "-m", "benchmarks.systems.fedjax_haiku", number],
    }


PATIENCE = 900.0  # seconds; FedJAX compiles for minutes in its first round
NEEDS = {"pfl": "pfl", "pfl-threads": "pfl", "fedjax": "fedjax"}


def is_there(others: str, module: str) -> bool:
    """Returns whether the other environment has a package."""
    if not Path(others).exists():
        return False
    return subprocess.run([others, "-c", f"import {module}"], capture_output=True).returncode == 0


def measure(batches: int, repeats: int, others: str, only: list[str]) -> list[dict[str, Any]]:
    """Runs all systems in turn, `repeats` times, and returns the median of each."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    machine: list[float] = []
    for name in (n for n, needed in NEEDS.items() if n in only and not is_there(others, needed)):
        print(f"{name} is skipped: {NEEDS[name]} is not installed ({others}); see make others", file=sys.stderr)
    asked = {n: c for n, c in commands(batches, others).items() if n in only}
    for _ in range(repeats):
        machine.append(machine_rate(2))
        for name, command in asked.items():
            if name in NEEDS and not is_there(others, NEEDS[name]):
                continue
            try:
                found[name].append(run_json(command, ONE_THREAD if name == "pfl" else None, PATIENCE))
            except RuntimeError as error:
                print(f"{name} failed and is skipped: {error}", file=sys.stderr)
    return [_middle(name, lines, batches, statistics.median(machine)) for name, lines in found.items()]


def _middle(name: str, lines: list[dict[str, Any]], batches: int, machine: float) -> dict[str, Any]:
    rates = {k: statistics.median(line[k] for line in lines) for k in ("clients_per_second", "tokens_per_second")}
    share = rates["tokens_per_second"] * flops_per_token() / machine
    about = {"name": name, "system": lines[0]["system"], "batches": batches, "versions": lines[0]["versions"]}
    return {**about, **rates, "of_gemm_rate": share}


def main() -> None:
    """Measures and prints the table, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 10], choices=[1, 10])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--others", default=".venv-others/bin/python")
    parser.add_argument("--only", nargs="+", default=list(commands(1, "")), choices=list(commands(1, "")))
    args = parser.parse_args()
    rows = [row for b in args.batches for row in measure(b, args.repeats, args.others, args.only)]
    ours = {row["batches"]: row["tokens_per_second"] for row in rows if row["name"] == "fedlm"}
    body = [
        (
            row["system"],
            row["batches"],
            f"{row['clients_per_second']:.1f}",
            f"{row['tokens_per_second']:,.0f}",
            f"{ours[row['batches']] / row['tokens_per_second']:.2f}" if ours else "",
            f"{row['of_gemm_rate']:.0%}",
        )
        for row in rows
    ]
    print(table(("system", "batches a client", "clients/s", "tokens/s", "fedlm is faster by", "of GEMM rate"), body))
    print(json.dumps({"processor": processor(), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
