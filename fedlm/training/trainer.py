"""Local training: one compiled model a process, fixed (batch, sequence) shapes, no tracing from client to client."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from operator import add
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fedlm.config import CLIENT_OPTIMIZERS, RunConfig
from fedlm.layers.device import compiled
from fedlm.models.catalog import model_about
from fedlm.models.registry import build_model, save_model
from fedlm.rng import Purpose, Stream
from fedlm.schedules import rate_factor
from fedlm.text.packing import PACK, RowSums, sums_by_owner
from fedlm.text.unknown import spelling
from fedlm.training import blocks
from fedlm.training.batches import Batching, Orders, PreparedClient
from fedlm.training.blocks import BlockResult, GlobalWeights, Piece, RunBlock
from fedlm.training.decoding import Reader, steps_of
from fedlm.training.optimizers import ClientOptimizer
from fedlm.training.program import TrainingProgram
from fedlm.training.step import Objective, OptimizerStep, token_sums
from fedlm.types import Batches, Ids, IntSums, Seeds, TextMetrics, Weights

_COMPILED = (
    "model",
    "vocabulary",
    "vocabulary_text",
    "seq_len",
    "batch_size",
    "client_optimizer",
    "l1",
    "l2",
    "label_smoothing",
)
"""The configuration keys that the compiled graphs depend on; the others are read at each call."""
EVAL_ROWS = 32  # rows evaluated at once; fixed, so that figures have the same bits everywhere


class LocalTrainer:
    """Trains and evaluates the model of a configuration, one client at a time.

    Args:
      config: model, vocabulary, shapes and optimizer.

    Attributes:
      vocab: the run's vocabulary.
      model: the Keras model; its weights are those of whatever it did last.
      is_masked: the model predicts hidden tokens, and cannot continue a text.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config, self.vocab = config, config.vocab
        self.model = build_model(config.model, self.vocab.size, config.seq_len, config.seed)
        self.is_masked = model_about(config.spec("model").name).is_masked
        self._batching = Batching(config, self.vocab, is_masked=self.is_masked)
        self._characters = tf.constant(self.vocab.characters)
        self._variables = self.model.trainable_variables
        # One call for a dozen variables.
        weights = [tf.TensorSpec(v.shape, v.dtype) for v in self._variables]
        self._assign = tf.function(self._set, input_signature=weights, autograph=False)
        spec = config.spec("client_optimizer")
        options = {**CLIENT_OPTIMIZERS[spec.name], **spec.options}
        self._learning_rate = float(options["learning_rate"])
        objective, shape = Objective(config.l1, config.l2, config.label_smoothing), (config.batch_size, config.seq_len)
        optimizer = ClientOptimizer(spec.name, options, self._variables)
        self._step = OptimizerStep(self.model, optimizer, objective, shape, self._characters)
        self._program = TrainingProgram(self._step)
        self._reader: Reader | None = None
        rows = tf.TensorSpec((EVAL_ROWS, config.seq_len), tf.int32)
        self._eval_graph = compiled(self._eval_rows, [rows, rows])

    def take_over(self, config: RunConfig) -> bool:
        """Adopts another configuration without compiling again; False if its graphs would differ.

        The weights become the initial ones of its seed, as in a new trainer.
        """
        if any(getattr(config, k) != getattr(self.config, k) for k in _COMPILED):
            return False
        self.config, self._batching = config, Batching(config, self.vocab, is_masked=self.is_masked)
        fresh = build_model(config.model, self.vocab.size, config.seq_len, config.seed)
        self.assign(tuple(v.numpy() for v in fresh.trainable_variables))
        return True

    @property
    def traces(self) -> int:
        """How often a training step was compiled; once a process, whatever the clients."""
        return self._step.traces

    @property
    def weights(self) -> Weights:
        """Current weights, in Keras order."""
        return tuple(v.numpy() for v in self._variables)

    def begin(self, weights: Weights | GlobalWeights) -> GlobalWeights:
        """Returns global weights as tensors; once a message, since each client of it begins from them."""
        if isinstance(weights, GlobalWeights):
            return weights
        return GlobalWeights(weights, [tf.constant(w) for w in weights])

    def prepare(self, documents: Sequence[str]) -> PreparedClient:
        """Returns a client's text as rows of the run's own vocabulary (a vault may be sealed with another)."""
        return self._batching.prepare(documents)

    def num_tokens(self, documents: Sequence[str]) -> int:
        """Returns the training targets of one epoch; `prepare` returns them too, with the rows."""
        return self.prepare(documents).num_tokens

    def train(
        self,
        weights: Weights | GlobalWeights,
        text: PreparedClient | Sequence[str],
        rng: np.random.Generator,
        server_round: int = 1,
        proximal_mu: float | None = None,
        *,
        bounded: bool = True,
    ) -> tuple[Weights, TextMetrics]:
        """Trains one client from the global weights.

        Args:
          weights: global weights, of `begin` where several clients start from them; not modified.
          text: the client's training text, prepared or as documents.
          rng: of (seed, purpose, round, client); draws the rows' order in each epoch, dropout and
            masks.
          server_round: for the learning-rate schedule, from 1.
          proximal_mu: FedProx' mu, if not the configuration's.
          bounded: whether the configuration's max_client_tokens holds.

        Returns:
          The update (local - global) and the sums of the training loss over all epochs.
        """
        start, client = self.begin(weights), text if isinstance(text, PreparedClient) else self.prepare(text)
        held = self._batching.num_watched(len(client.inputs), bounded=bounded)
        kept = len(client.inputs) - held  # rows that are trained on; the last ones watch for early stopping
        orders, seeds = self._batching.orders(kept, rng, bounded=bounded), self._dropout(rng)
        run_block = self.steps_from(start, server_round, proximal_mu)

        def run(epochs: Orders, *, begins: bool = True) -> tuple[Weights, TextMetrics]:
            rows, nexts = self._batching.batches(client.inputs, client.targets, epochs, rng)
            metrics, update = TextMetrics(), list[tf.Tensor]()
            for at in range(0, max(len(rows), 1), blocks.BLOCK):
                until = at + blocks.BLOCK
                result = run_block([Piece(rows[at:until], nexts[at:until], seeds, begins=begins and at == 0)])
                metrics, update = metrics + result.pieces[0].metrics, result.update
            return tuple(np.asarray(u) for u in update), metrics  # not `numpy()`, which copies

        if not held:
            return run(orders)
        return self._stop_early(start, orders, run, (client.inputs[kept:], client.targets[kept:]))

    def steps_from(self, start: GlobalWeights, server_round: int = 1, proximal_mu: float | None = None) -> RunBlock:
        """Returns what trains blocks of clients from the global weights, at a round's learning rate."""
        self._reader = None
        mu = self.config.proximal_mu if proximal_mu is None else proximal_mu
        rate = self._learning_rate * rate_factor(self.config.client_schedule, server_round)

        def run_block(pieces: Sequence[Piece], *, first: bool = False) -> BlockResult:
            return self._program.run(start.tensors, pieces, rate=rate, mu=mu, first=first)

        return run_block

    @property
    def update_sums(self) -> IntSums:
        """The exact sum of the updates that those blocks added; not to be changed in place."""
        return self._program.sums

    def batches_of(self, client: PreparedClient, rng: np.random.Generator) -> tuple[Batches, Batches, Seeds]:
        """Returns all that `train` steps on: inputs and targets (batches, batch, seq_len), and the seeds of dropout."""
        orders, seeds = self._batching.orders(len(client.inputs), rng), self._dropout(rng)
        return *self._batching.batches(client.inputs, client.targets, orders, rng), seeds

    def _dropout(self, rng: np.random.Generator) -> Seeds:
        """Draws the seeds of the model's dropout generators, (generators, 2)."""
        return rng.integers(0, 2**31, (len(self._step.seeds), 2))

    def _stop_early(
        self,
        start: GlobalWeights,
        orders: Orders,
        run: Callable[..., tuple[Weights, TextMetrics]],
        held_out: tuple[Ids, Ids],
    ) -> tuple[Weights, TextMetrics]:
        """Runs epochs until the loss of the client's own held-out rows falls no more; ends in the best epoch's weights."""
        metrics, best, waited = TextMetrics(), math.inf, 0
        kept, update = start.arrays, tuple(np.zeros_like(w) for w in start.arrays)
        for epoch, order in enumerate(orders):
            if not len(order):  # max_client_tokens is used up
                break
            moved, figures = run([order], begins=epoch == 0)
            metrics += figures
            loss = self._evaluated([held_out])[0].loss_sum
            waited = 0 if loss < best else waited + 1
            if loss < best:
                best, kept, update = loss, self.weights, moved
            if waited >= self.config.client_patience:
                break
        self._set(*kept)
        return update, metrics

    def assign(self, weights: Weights | GlobalWeights) -> None:
        """Sets the model's weights."""
        self._assign(*self.begin(weights).tensors)
        self._reader = None

    def evaluate(self, weights: Weights | None, documents: Sequence[str]) -> TextMetrics:
        """Returns the sums over one client's documents; `weights` None keeps those of the last call."""
        return self.evaluate_each(weights, [documents])[0]

    def evaluate_each(self, weights: Weights | None, shards: Iterable[Sequence[str]]) -> list[TextMetrics]:
        """Returns the sums over each client's documents: what `evaluate` returns, sooner; see `packing` and `unknown`."""
        if weights is not None:
            self.assign(weights)
        rest, figures = iter(shards), list[TextMetrics]()
        while pack := list(islice(rest, PACK)):
            clients = map(self.prepare, pack)
            found = self._evaluated((c.inputs, c.targets) for c in clients)
            # Masked models predict no unknown words.
            extra = (TextMetrics() if self.is_masked else spelling(documents, self.vocab) for documents in pack)
            figures += map(add, found, extra)
        return figures

    def sums(self, owners: Iterable[tuple[Ids, Ids]]) -> list[TextMetrics]:
        """Returns each owner's sums over its rows as they are, (rows, seq_len) inputs and targets; a target 0 is not counted."""
        return sums_by_owner(owners, self._row_sums, EVAL_ROWS)

    def next_logits(self, ids: list[int]) -> npt.NDArray[np.float32]:
        """Returns the logits (vocab_size,) of the symbol after `ids`; the model reads only what it has not read."""
        if self._reader is None:
            self._reader = Reader(steps_of(self.model, self.config.model))
        return self._reader.logits(ids)

    def save(self, path: Path) -> None:
        """Writes the model as a `.keras` file that plain Keras opens; of a pretrained model, with `keras_hub` imported."""
        save_model(self.model, path)

    def _set(self, *values: tf.Tensor) -> None:
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)

    def _evaluated(self, owners: Iterable[tuple[Ids, Ids]]) -> list[TextMetrics]:
        """Returns each owner's sums over rows of `prepare`, with the same masks in every round."""
        hidden = Stream(self.config.seed, Purpose.EVALUATION_MASKS)  # restarted for each client, in every round
        masked = (self._batching.with_masks(i, t, hidden.generator()) for i, t in owners)
        return self.sums(masked)

    def _row_sums(self, inputs: Ids, targets: Ids) -> RowSums:
        losses, counts = self._eval_graph(inputs, targets)
        return losses.numpy(), counts.numpy()

    def _eval_rows(self, inputs: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the loss (rows,) and counts (rows, 3) of each row."""
        return token_sums(self.model(inputs, training=False), targets, self._characters, axis=-1)
