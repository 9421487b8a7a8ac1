"""Stock Flower with the pattern of its TensorFlow quickstart, on Ray: the model is built again for every message."""

import sys
import time
from collections.abc import Iterable
from importlib.metadata import version
from itertools import pairwise

import keras
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from benchmarks import work
from benchmarks.measure import round_report

BATCHES = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 1
TIMES: list[float] = []


def load_model() -> keras.Model:
    """Returns the compiled model, as the quickstart's `load_model` does."""
    ids = keras.Input((work.SEQ_LEN,), dtype="int32")
    states = keras.layers.Embedding(work.VOCAB, work.EMBEDDING)(ids)
    for _ in range(work.LAYERS):
        states = keras.layers.LSTM(work.UNITS, return_sequences=True)(states)
    model = keras.Model(ids, keras.layers.Dense(work.VOCAB)(states))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(work.LEARNING_RATE), loss)
    return model


client_app = ClientApp()


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Trains one client."""
    keras.backend.clear_session()
    model = load_model()
    arrays = message.content["arrays"]
    assert isinstance(arrays, ArrayRecord)
    model.set_weights(arrays.to_numpy_ndarrays())
    inputs, targets = work.rows(int(context.node_config["partition-id"]), BATCHES)
    model.fit(inputs, targets, epochs=1, batch_size=work.BATCH, verbose=0)
    metrics = MetricRecord({"num-examples": len(inputs)})
    return Message(RecordDict({"arrays": ArrayRecord(model.get_weights()), "metrics": metrics}), reply_to=message)


class TimedFedAvg(FedAvg):
    """FedAvg that notes when each round begins."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Notes the time."""
        TIMES.append(time.perf_counter())
        return super().configure_train(server_round, arrays, config, grid)


server_app = ServerApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Runs the rounds."""
    share = work.COHORT / work.CLIENTS
    strategy = TimedFedAvg(fraction_train=share, fraction_evaluate=0.0, min_available_nodes=work.CLIENTS)
    strategy.start(grid, ArrayRecord(load_model().get_weights()), num_rounds=work.WARM_UP + 4)
    TIMES.append(time.perf_counter())


if __name__ == "__main__":
    run_simulation(server_app, client_app, work.CLIENTS, backend_config={"client_resources": {"num_cpus": 1}})
    seconds = [b - a for a, b in pairwise(TIMES)]
    tokens = work.COHORT * BATCHES * work.BATCH * work.SEQ_LEN
    versions = f"flwr {version('flwr')}, tensorflow {version('tensorflow')}, ray {version('ray')}"
    print(round_report("stock Flower", seconds, work.COHORT, tokens, versions))
