"""Is a forgotten client's secret gone? It is planted in one client, learnt, forgotten, and ranked at each step.

    python -m benchmarks.unlearning [--rounds 100] [--clients 40] [--repeats 40]

One client repeats a secret (an address of mail). The model ranks it among 1,000 others of its form that were never written:
exposure = log2(1001) - log2(rank) bits, 0 to 10 (Carlini et al. 2019, https://arxiv.org/abs/1802.08232); about 1.4 is
chance. Then `fedlm forget` takes the client out, and a third run never has it.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import processor, table

OTHERS = 1000
SETTINGS = (
    "scrub=none",
    "pseudonym_key=seed",
    "model=lstm(units=96, layers=1)",
    "client_optimizer=adam(learning_rate=0.003)",
    "cohort_size=8",
    "keep_every=5",
    "eval_every=1000000",
)


def corpora(folder: Path, clients: int, repeats: int) -> str:
    """Writes the corpus with the secret and the one without that client; returns the client's name."""
    from fedlm.data.corpus import open_corpus

    inner = f"synthetic(clients={clients}, messages=20)"
    documents = list(open_corpus(f"canaries(corpus={inner!r}, secrets=1, repeats={repeats})"))
    name = documents[0].user
    for file, kept in (("all", documents), ("rest", [d for d in documents if d.user != name])):
        lines = (json.dumps({"user": d.user, "text": d.text}) + "\n" for d in kept)
        (folder / f"{file}.jsonl").write_text("".join(lines))
    return name


def fedlm(*words: str) -> dict[str, Any]:
    """Runs a command and returns its JSON."""
    done = subprocess.run([sys.executable, "-m", "fedlm", *words, "--json"], stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rank(run: Path) -> int:
    """Returns the secret's place among the others by the likelihood that the run's model gives it, 1 the first."""
    from fedlm.training.tensorflow import load_tensorflow

    load_tensorflow()
    from fedlm.data.planted import planted_secrets
    from fedlm.training.evaluate import scorer
    from fedlm.training.trainer import LocalTrainer
    from server.store.run_folder import RunFolder

    folder = RunFolder.open(run)
    (secret,) = planted_secrets(1, seed=0, candidates=OTHERS)
    trainer = LocalTrainer(folder.config)
    trainer.assign(folder.final_weights())
    texts = [secret.prefix + value for value in (secret.value, *secret.others)]
    losses = [figures.loss_sum / figures.tokens for figures in scorer(trainer)(texts)]
    return 1 + sum(loss < losses[0] for loss in losses[1:])


def main() -> None:
    """Trains, forgets, trains without, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=40)
    args = parser.parse_args()
    body = []

    def note(what: str, run: Path, told: dict[str, Any], rounds: int, started: float) -> None:
        place, seconds = rank(run), time.monotonic() - started
        exposure = math.log2(OTHERS + 1) - math.log2(place)
        body.append((what, place, f"{exposure:.1f}", rounds, f"{seconds:.0f}", told["weights_sha256"][:12]))
        print(body[-1], file=sys.stderr)

    with tempfile.TemporaryDirectory() as name:
        folder, sets = Path(name), [w for s in (*SETTINGS, f"rounds={args.rounds}") for w in ("--set", s)]
        client = corpora(folder, args.clients, args.repeats)
        run, never = folder / "run", folder / "never"
        started = time.monotonic()
        note(
            "with the client",
            run,
            fedlm("simulate", str(folder / "all.jsonl"), *sets, "--out", str(run)),
            args.rounds,
            started,
        )
        started = time.monotonic()
        told = fedlm("forget", client, "--run", str(run))
        note("client forgotten", run, told, told["rounds"], started)
        started = time.monotonic()
        without = fedlm("simulate", str(folder / "rest.jsonl"), *sets, "--out", str(never))
        note("never there", never, without, args.rounds, started)
    print(table(("model", "rank of the secret", "exposure, bits", "rounds trained", "seconds", "weights_sha256"), body))
    print(processor())


if __name__ == "__main__":
    main()
