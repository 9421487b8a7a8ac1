"""fedlm on its local engine: two worker processes of one thread, sealed text, exact sums, a checkpoint every round."""

import json
import sys
import tempfile
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import work
from benchmarks.measure import round_report
from fedlm.config import RunConfig
from fedlm.preparation.vault import prepare
from fedlm.vault.keys import KeySource
from server.engines.local import LocalEngine
from server.engines.workers import WorkerCommand
from server.run.federation import Federation
from server.store.run_folder import RunFolder

WORKERS = 2


def main(batches: int) -> None:
    """Trains and prints; a round is from one line of metrics to the next, whatever happens in between."""
    settings = {
        "scrub": "none",
        "vocabulary": "chars(placeholders=0)",
        "batch_size": work.BATCH,
        "client_optimizer": f"sgd(learning_rate={work.LEARNING_RATE})",
        "holdout_fraction": 0.0,
        "rounds": work.ROUNDS[batches],
        "eval_every": 10**6,
        "min_documents": 1,
    }
    config = RunConfig.checked(settings)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus, vault, key = folder / "corpus.jsonl", folder / "v.db", KeySource(folder / "v.key")
        with corpus.open("w") as file:
            for client in range(work.CLIENTS):
                for text in work.texts(client, batches):
                    file.write(json.dumps({"user": str(client), "text": text}) + "\n")
        prepare(str(corpus), vault, key, config, progress=lambda done, total: None)

        def tick(_: dict[str, Any]) -> None:
            times.append(time.perf_counter())

        with LocalEngine(WorkerCommand(vault, key.file), WORKERS) as engine:
            run = Federation(engine, config, RunFolder.create(folder / "run", config), tick)
            run.start()
            run.run()
    seconds = [b - a for a, b in pairwise(times)]
    tokens = work.COHORT * batches * work.BATCH * work.SEQ_LEN
    versions = f"fedlm {version('fedlm')}, tensorflow {version('tensorflow')}, flwr {version('flwr')}"
    print(round_report("fedlm", seconds, work.COHORT, tokens, versions))


if __name__ == "__main__":
    main(int(sys.argv[1]))
