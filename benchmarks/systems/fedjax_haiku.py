"""FedJAX with its own Shakespeare model."""

import sys
import time
from importlib.metadata import version

import fedjax
import jax
import numpy as np
from fedjax.algorithms import fed_avg
from fedjax.models import shakespeare

from benchmarks import work
from benchmarks.measure import round_report


def main(batches: int) -> None:
    """Trains and prints."""
    # FedJAX uses names that newer versions of JAX have removed.
    jax.numpy.NINF, jax.tree_map = -jax.numpy.inf, jax.tree_util.tree_map
    model = shakespeare.create_lstm_model(work.VOCAB - 4, work.EMBEDDING, work.UNITS, work.LAYERS)
    clients = {}
    for client in range(work.CLIENTS):
        inputs, targets = work.rows(client, batches)
        clients[client] = {"x": inputs, "y": targets}
    data = fedjax.InMemoryFederatedData(clients)
    hparams = fedjax.ShuffleRepeatBatchHParams(batch_size=work.BATCH, num_epochs=1)
    algorithm = fed_avg.federated_averaging(
        fedjax.model_grad(model), fedjax.optimizers.sgd(work.LEARNING_RATE), fedjax.optimizers.sgd(1.0), hparams
    )
    state = algorithm.init(model.init(jax.random.PRNGKey(0)))
    sampler = fedjax.client_samplers.UniformGetClientSampler(data, work.COHORT, seed=0)
    seconds = []
    for _ in range(work.WARM_UP + 4):
        started = time.perf_counter()
        state, _ = algorithm.apply(state, sampler.sample())
        jax.block_until_ready(state.params)
        seconds.append(time.perf_counter() - started)
    tokens = work.COHORT * batches * work.BATCH * work.SEQ_LEN
    versions = f"fedjax {version('fedjax')}, jax {version('jax')}, numpy {np.__version__}"
    print(round_report("FedJAX", seconds, work.COHORT, tokens, versions))


if __name__ == "__main__":
    main(int(sys.argv[1]))
