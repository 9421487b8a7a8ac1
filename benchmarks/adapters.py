"""What a round of low-rank adapters sends, against the full model: GPT-2 small's shape with random weights.

    python -m benchmarks.adapters [--rank 8] [--rounds 2]

Makes a preset of that shape in a temporary folder (124,439,808 weights, 0.5 GB), trains it federated on one worker process,
and counts the bytes of the training messages as they go over the wire. Takes about 3 GB of memory.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Message
from flwr.common.serde import message_to_proto

from benchmarks import work
from benchmarks.endurance import children
from benchmarks.measure import processor, table
from fedlm.messages.training import TrainRequest
from server.engines.local import LocalEngine
from server.engines.workers import WorkerCommand

SMALL = {"num_layers": 12, "num_heads": 12, "hidden_dim": 768, "intermediate_dim": 3072, "max_sequence_length": 1024}
MERGES = 50_000  # with 256 bytes and the end symbol: GPT-2's 50,257 tokens


class CountingEngine(LocalEngine):
    """Counts the bytes of training messages, as protobuf; a frame adds eight."""

    down = up = count = 0

    def submit(self, messages: Sequence[Message], timeout: float | None) -> list[Future[Message]]:
        """Sends messages as `LocalEngine` does, and waits for their replies."""
        futures = super().submit(messages, timeout)
        for message, future in zip(messages, futures, strict=True):
            if message.metadata.message_type == TrainRequest.kind:
                self.down += message_to_proto(message).ByteSize()
                self.up += message_to_proto(future.result()).ByteSize()
                self.count += 1
        return futures


def save_preset(folder: Path) -> int:
    """Saves a random GPT-2 of the small one's shape; returns how many weights it has."""
    from fedlm.training.tensorflow import load_tensorflow

    load_tensorflow()
    import keras
    import keras_hub
    from tokenizers.pre_tokenizers import ByteLevel

    keras.utils.set_random_seed(0)
    signs = sorted(ByteLevel.alphabet())
    merges = [f"{a} {b}" for a in signs for b in signs][:MERGES]
    tokens = [*signs, *(m.replace(" ", "") for m in merges), "<|endoftext|>"]
    backbone = keras_hub.models.GPT2Backbone(vocabulary_size=len(tokens), **SMALL)
    backbone.save_to_preset(str(folder))
    vocabulary = {token: place for place, token in enumerate(tokens)}
    keras_hub.tokenizers.GPT2Tokenizer(vocabulary=vocabulary, merges=merges).save_to_preset(str(folder))
    return int(backbone.count_params())


def peak(pid: int) -> float:
    """Returns the most memory that a process ever had, in gigabytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def trained(folder: Path, rank: int, rounds: int) -> dict[str, Any]:
    """Trains the preset federated; returns what was counted."""
    from fedlm.config import RunConfig
    from fedlm.preparation.vault import prepare
    from fedlm.vault.keys import KeySource
    from server.run.federation import Federation
    from server.store.run_folder import RunFolder

    model = f"gpt2(preset={str(folder / 'preset')!r}, lora_rank={rank})"
    shapes = ["seq_len=32", "batch_size=2", "cohort_size=2", f"rounds={rounds}", f"eval_every={rounds}"]
    config = RunConfig.load(None, ["scrub=none", f"model={model}", "client_optimizer=adam", *shapes])
    vault, key, corpus = folder / "v.db", KeySource(folder / "v.key"), folder / "corpus.jsonl"
    lines = [{"user": str(c), "text": t} for c in range(2) for t in work.texts(c, 1)[:4]]
    corpus.write_text("".join(json.dumps(line) + "\n" for line in lines))
    prepare(str(corpus), vault, key, config, lambda done, total: None)
    seconds: list[float] = []
    with CountingEngine(WorkerCommand(vault, key.file), workers=1) as engine:
        run = Federation(
            engine, config, RunFolder.create(folder / "run", config), lambda line: seconds.append(line["seconds"])
        )
        run.start()
        weights = run.run()
        return {
            "weights": sum(w.size for w in weights),
            "moved": float(sum(np.abs(a - b).sum() for a, b in zip(weights, run.initial, strict=True))),
            "down": engine.down / engine.count,
            "up": engine.up / engine.count,
            "seconds": seconds[-1],
            "memory": max(map(peak, children(os.getpid()))),
        }


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        whole = save_preset(Path(name) / "preset")
        seen = trained(Path(name), args.rank, args.rounds)
    full = 4 * whole
    share = (seen["down"] + seen["up"]) / full
    body = [
        ("weights of the model", f"{whole:,}"),
        ("weights trained and sent", f"{seen['weights']:,}"),
        ("bytes a round and node, down", f"{seen['down']:,.0f}"),
        ("bytes a round and node, up", f"{seen['up']:,.0f}"),
        ("both, of the full model's bytes", f"{share:.3%} of {full:,}"),
        ("worker's peak memory", f"{seen['memory']:.1f} GB"),
    ]
    print(table(("GPT-2 small's shape", f"rank {args.rank}"), body))
    print(processor())
    if not seen["moved"]:
        raise SystemExit("The adapters did not move: nothing was trained.")


if __name__ == "__main__":
    main()
