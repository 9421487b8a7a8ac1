"""Memory over many rounds: resident memory of the server and of each worker must stay flat.

    python -m benchmarks.endurance [--rounds 500] [--workers 2]

Prints megabytes per round, by least squares after the first 50 rounds.
"""

import argparse
import json
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import work
from benchmarks.measure import table

SETTLED = 50


def resident(pid: int) -> float:
    """Returns a process' resident memory in megabytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def children(pid: int) -> list[int]:
    """Returns the processes that a process started."""
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def slope(megabytes: list[float]) -> float:
    """Returns megabytes a round after the first rounds."""
    settled = megabytes[min(SETTLED, len(megabytes) // 2) :]
    return float(np.polyfit(np.arange(len(settled)), settled, 1)[0])


def watched(rounds: int, workers: int) -> dict[str, list[float]]:
    """Trains a small model on many clients; returns each process' memory after each round."""
    from fedlm.config import RunConfig
    from fedlm.preparation.vault import prepare
    from fedlm.vault.keys import KeySource
    from server.engines.local import LocalEngine
    from server.engines.workers import WorkerCommand
    from server.run.federation import Federation
    from server.store.run_folder import RunFolder

    settings = {"scrub": "none", "min_documents": 1, "rounds": rounds, "eval_every": 50, "model": "lstm(units=64)"}
    config, seen = RunConfig.checked(settings), defaultdict[str, list[float]](list)

    def note(_: dict[str, Any]) -> None:
        seen["server"].append(resident(os.getpid()))
        for place, pid in enumerate(children(os.getpid())):
            seen[f"worker {place}"].append(resident(pid))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vault, key, corpus = folder / "v.db", KeySource(folder / "v.key"), folder / "corpus.jsonl"
        lines = [{"user": str(c), "text": t} for c in range(200) for t in work.texts(c, 1)[: 2 + c % 9]]
        corpus.write_text("".join(json.dumps(line) + "\n" for line in lines))
        prepare(str(corpus), vault, key, config, lambda done, total: None)
        with LocalEngine(WorkerCommand(vault, key.file), workers) as engine:
            run = Federation(engine, config, RunFolder.create(folder / "run", config), note)
            run.start()
            run.run()
    return dict(seen)


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    seen = watched(args.rounds, args.workers)
    body = [(name, f"{m[0]:.0f}", f"{m[-1]:.0f}", f"{slope(m):+.4f}") for name, m in seen.items()]
    print(table(("process", "MB after round 0", "MB at the end", "MB a round"), body))


if __name__ == "__main__":
    main()
