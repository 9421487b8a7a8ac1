"""One training step on one thread: fedlm under XLA against PyTorch's nn.LSTM, on the same shapes, interleaved.

    python -m benchmarks.step [--repeats 5] [--others .venv-others/bin/python]

Two models: Shakespeare (2 x 256, 90 symbols, 80 characters, batch 10) and StackOverflow (670 units
with projection 96, 10,004 words, 20 words, batch 16). A step is forward, backward and SGD.
"""

import argparse
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks import work
from benchmarks.measure import ONE_THREAD, processor, run_json, table

MODELS: dict[str, dict[str, int]] = {
    "2 x 256": {"vocab": 90, "embedding": 8, "units": 256, "layers": 2, "projection": 0, "steps": 80, "batch": 10},
    "670, projection 96": {
        "vocab": 10_004,
        "embedding": 96,
        "units": 670,
        "layers": 1,
        "projection": 96,
        "steps": 20,
        "batch": 16,
    },
}
BATCHES, TIMES = 20, 5


def rate(step: Callable[[], object], shape: dict[str, int]) -> float:
    """Returns tokens a second of CPU time, the best of several passes; other jobs on the machine do not count."""
    best = float("inf")
    for _ in range(TIMES):
        started = time.process_time()
        step()
        best = min(best, time.process_time() - started)
    return BATCHES * shape["batch"] * shape["steps"] / best


def fedlm_rate(shape: dict[str, int]) -> float:
    """Measures the training of one client of BATCHES batches, from its text to its update."""
    from fedlm.training.tensorflow import load_tensorflow

    load_tensorflow()
    from fedlm.config import RunConfig
    from fedlm.text.learned import words_content
    from fedlm.training.trainer import LocalTrainer

    rng, content = np.random.default_rng(0), ""
    if shape["vocab"] == work.VOCAB:
        vocabulary, symbols, joint = "chars(placeholders=0)", list(work.LETTERS), ""
    else:
        symbols, joint = [f"w{n}" for n in range(shape["vocab"])], " "
        content = words_content(symbols, shape["vocab"])
        vocabulary = f"words(file='made', sha256='{hashlib.sha256(content.encode()).hexdigest()}')"
    options = ", ".join(f"{k}={shape[k]}" for k in ("units", "layers", "embedding", "projection"))
    settings = {"model": f"lstm({options})", "vocabulary": vocabulary, "vocabulary_text": content}
    trainer = LocalTrainer(
        RunConfig.checked(settings | {"seq_len": shape["steps"], "batch_size": shape["batch"]}),
    )
    rows = rng.integers(0, len(symbols) // 2, (BATCHES * shape["batch"], shape["steps"] - 1))
    documents, weights = [joint.join(symbols[i] for i in row) for row in rows], trainer.weights

    def step() -> None:
        trainer.train(weights, documents, np.random.default_rng(1))

    step()
    return rate(step, shape)


def torch_rate(shape: dict[str, int]) -> float:
    """Measures PyTorch."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    width = shape["projection"] or shape["units"]
    embedding = torch.nn.Embedding(shape["vocab"], shape["embedding"])
    lstm = torch.nn.LSTM(shape["embedding"], shape["units"], shape["layers"], batch_first=True)
    project = torch.nn.Linear(shape["units"], width) if shape["projection"] else torch.nn.Identity()
    logits = torch.nn.Linear(width, shape["vocab"])
    model = torch.nn.ModuleList([embedding, lstm, project, logits])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    size = (BATCHES, shape["batch"], shape["steps"] + 1)
    ids = torch.from_numpy(np.random.default_rng(0).integers(1, shape["vocab"], size))

    def step() -> None:
        for batch in ids:
            optimizer.zero_grad()
            out = logits(project(lstm(embedding(batch[:, :-1]))[0]))
            torch.nn.functional.cross_entropy(out.flatten(0, 1), batch[:, 1:].flatten()).backward()
            optimizer.step()

    step()
    return rate(step, shape)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--others", default=".venv-others/bin/python")
    parser.add_argument("--one", nargs=2, metavar=("SYSTEM", "MODEL"), help="one measurement, as JSON")
    args = parser.parse_args()
    if args.one:
        system, model = args.one
        measured = fedlm_rate(MODELS[model]) if system == "fedlm" else torch_rate(MODELS[model])
        print(json.dumps({"rate": measured}))
        return
    body = []
    for model in MODELS:
        rates: dict[str, list[float]] = {"fedlm": [], "torch": []}
        for _ in range(args.repeats):
            for system, python in (("fedlm", sys.executable), ("torch", args.others)):
                command = [python, "-m", "benchmarks.step", "--one", system, model]
                rates[system].append(run_json(command, ONE_THREAD)["rate"])
        ours, theirs = (statistics.median(rates[s]) for s in ("fedlm", "torch"))
        body.append((model, f"{ours:,.0f}", f"{theirs:,.0f}", f"{ours / theirs:.2f}"))
    print(table(("model", "fedlm, tokens/s", "PyTorch, tokens/s", "ratio"), body))
    print(processor())


if __name__ == "__main__":
    main()
