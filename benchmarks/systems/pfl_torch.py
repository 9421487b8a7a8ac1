"""pfl-research with PyTorch; started by torchrun for two processes of one thread, or directly for one process of two threads."""

import os
import sys
import time
from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Weighted
from pfl.model.pytorch import PyTorchModel

from benchmarks import work
from benchmarks.measure import round_report


class CharLSTM(torch.nn.Module):
    """Embedding, stacked LSTM, logits."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(work.VOCAB, work.EMBEDDING)
        self.lstm = torch.nn.LSTM(work.EMBEDDING, work.UNITS, work.LAYERS, batch_first=True)
        self.logits = torch.nn.Linear(work.UNITS, work.VOCAB)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Returns logits (batch, steps, vocab)."""
        return self.logits(self.lstm(self.embedding(ids))[0])

    def loss(self, ids: torch.Tensor, targets: torch.Tensor, is_eval: bool = False) -> torch.Tensor:
        """Returns the mean loss."""
        self.train(not is_eval)
        return torch.nn.functional.cross_entropy(self(ids).flatten(0, 1), targets.flatten())

    def metrics(self, ids: torch.Tensor, targets: torch.Tensor, is_eval: bool = True) -> dict[str, Any]:
        """Returns the loss; not called during the timed rounds."""
        return {"loss": Weighted(float(self.loss(ids, targets, is_eval)), 1)}


class Clock(TrainingProcessCallback):
    """Notes when each round ends."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def after_central_iteration(self, aggregate_metrics: Any, model: Any, *, central_iteration: int) -> Any:
        """Notes the time."""
        self.times.append(time.perf_counter())
        return False, type(aggregate_metrics)()


def main(batches: int, threads: int) -> None:
    """Trains and prints."""
    torch.set_num_threads(threads)
    np.random.seed(0)  # noqa: NPY002  pfl takes its cohorts from it
    torch.manual_seed(0)

    def user(client: str) -> Dataset:
        inputs, targets = work.rows(int(client), batches)
        return Dataset((torch.from_numpy(inputs).long(), torch.from_numpy(targets).long()), user_id=client)

    sampler = get_user_sampler("random", [str(c) for c in range(work.CLIENTS)])
    data = FederatedDataset(user, sampler)
    module, clock = CharLSTM(), Clock()
    model = PyTorchModel(module, torch.optim.SGD, torch.optim.SGD(module.parameters(), lr=1.0))
    rounds = work.ROUNDS[batches]
    params = NNAlgorithmParams(
        central_num_iterations=rounds,
        evaluation_frequency=10**6,
        train_cohort_size=work.COHORT,
        val_cohort_size=0,
    )
    local = NNTrainHyperParams(local_num_epochs=1, local_learning_rate=work.LEARNING_RATE, local_batch_size=work.BATCH)
    FederatedAveraging().run(
        params, SimulatedBackend(data, data), model, local, NNEvalHyperParams(local_batch_size=None), [clock]
    )
    if int(os.environ.get("RANK", "0")) == 0:
        seconds = [0.0, *(b - a for a, b in pairwise(clock.times))]
        tokens = work.COHORT * batches * work.BATCH * work.SEQ_LEN
        versions = f"pfl {version('pfl')}, torch {version('torch')}"
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        print(
            round_report(f"pfl-research, {processes} x {threads}", seconds, work.COHORT, tokens, versions), flush=True
        )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
