"""The hash of the final weights of twelve small runs, to compare two checkouts: a change of structure changes none.

    python -m benchmarks.same_bits FOLDER                          # this checkout
    python -m benchmarks.same_bits FOLDER --python OTHER/.venv/bin/python
    python -m benchmarks.same_bits FOLDER --only local,dp --vault KEPT/plays.db

Every run starts the command line of the checkout that the interpreter belongs to. Both sides need the same vault, which the first
call seals: `--vault` names an existing one. About six minutes on two cores.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

BASE = ["rounds=3", "cohort_size=3", "eval_every=1", "batch_size=4", "model=lstm(units=16, layers=1)"]
CASES: dict[str, list[str]] = {
    "local": [],
    "lstm": ["model=lstm(units=32, layers=2)", "local_epochs=2", "proximal_mu=0.1"],
    "transformer": ["model=transformer(width=32, layers=1, heads=2)", "client_optimizer=adam(learning_rate=0.001)"],
    "gru with dropout": ["model=gru(units=16, layers=1, dropout=0.2)", "client_schedule=cosine(rounds=3)"],
    "FedAdam": ["strategy=FedAdam(eta=0.01)", "client_optimizer=sgd(learning_rate=0.5)"],
    "FedMedian": ["strategy=FedMedian()"],
    "drift and early stopping": ["drift=true", "client_patience=1", "local_epochs=3"],
    "dp": ["mechanism=gaussian", "clip_norm=0.3", "noise_multiplier=1.0", "sampling_rate=0.4", "population_weight=6"],
    "dp adaptive": [
        "mechanism=adaptive(quantile=0.5)",
        "clip_norm=0.3",
        "noise_multiplier=1.0",
        "sampling_rate=0.4",
        "population_weight=6",
    ],
    "dp local": [
        "mechanism=local",
        "clip_norm=0.3",
        "noise_multiplier=1.0",
        "sampling_rate=0.4",
        "population_weight=6",
    ],
}
PRIVATE = ["reproducible=true", "weighting=uniform", "max_client_tokens=1000000", "delta=1e-3"]


def main() -> None:
    """Prints a line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--vault", type=Path)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    vault = asked.vault or asked.folder / "plays.db"
    if not vault.exists():
        words = ["prepare", "shakespeare", vault.absolute(), "--scrub", "patterns", "--max-clients", 6]
        run(asked.python, asked.folder, *words, "--pseudonym-key", "seed")
    only = set(filter(None, asked.only.split(",")))
    for name, settings in CASES.items():
        if not only or name in only:
            more = PRIVATE if name.startswith("dp") else []
            report(name, simulate(asked.python, asked.folder, vault, name, [*BASE, *settings, *more]))
    for name, words in (("two workers", ["--workers", 2]), ("ray", ["--engine", "ray", "--workers", 2])):
        if not only or name in only:
            report(name, simulate(asked.python, asked.folder, vault, name, BASE, *words))


def simulate(python: str, folder: Path, vault: Path, name: str, settings: list[str], *words: object) -> str:
    """Runs one case; returns the hash of its weights."""
    sets = [w for s in settings for w in ("--set", s)]
    out = name.replace(" ", "-").replace(",", "")
    more = words or ("--workers", 1)
    done = run(python, folder, "simulate", vault.absolute(), *sets, "--out", out, "--json", *more)
    return str(json.loads(done)["weights_sha256"])


def run(python: str, folder: Path, *words: object) -> str:
    """Runs a command of fedlm; returns what it prints."""
    command = [python, "-m", "fedlm", *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def report(name: str, sha256: str) -> None:
    """Prints a case."""
    sys.stdout.write(f"{name:24} {sha256}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
