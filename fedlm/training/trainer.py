"""Local training: one compiled model per process, fixed (batch, sequence) shapes, no tracing from client to client."""

import math
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fedlm.config import CLIENT_OPTIMIZERS, RunConfig
from fedlm.layers.device import compiled
from fedlm.models.catalog import is_masked
from fedlm.models.registry import build_model, save_model
from fedlm.schedules import rate_factor
from fedlm.text.packing import PACK, RowSums, sums_by_owner
from fedlm.training import program
from fedlm.training.batches import Batching, Orders
from fedlm.training.decoding import Reader, steps_of
from fedlm.training.optimizers import ClientOptimizer
from fedlm.training.program import Piece, TrainingSteps
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
"""The keys that the compiled graphs depend on; the others are read at each call."""
MASKS = 5  # the purpose of evaluation's masks, in default_rng([seed, purpose]): the same in every round
EVAL_ROWS = 32  # rows evaluated at once; fixed, so that figures have the same bits everywhere


class LocalTrainer:
    """Trains and evaluates the model of a configuration on one client's documents at a time.

    Args:
      config: model, vocabulary, shapes and optimizer.

    Attributes:
      is_masked: the model fills hidden symbols and cannot go on with a text.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.vocab = config.vocab
        self.model = build_model(config.model, self.vocab.size, config.seq_len, config.seed)
        self.is_masked = is_masked(config.spec("model").name)
        self._batching = Batching(config, self.vocab, is_masked=self.is_masked)
        self._characters = tf.constant(self.vocab.characters)
        self._variables = self.model.trainable_variables
        spec = config.spec("client_optimizer")
        options = {**CLIENT_OPTIMIZERS[spec.name], **spec.options}
        self._learning_rate = float(options["learning_rate"])
        self._assigned: tuple[weakref.ref[Any] | None, list[tf.Tensor]] = (None, [])
        # One call for a dozen variables.
        shapes = [tf.TensorSpec(v.shape, v.dtype) for v in self._variables]
        self._assign = tf.function(self._set, input_signature=shapes, autograph=False)
        objective, shape = Objective(config.l1, config.l2, config.label_smoothing), (config.batch_size, config.seq_len)
        optimizer = ClientOptimizer(spec.name, options, self._variables)
        self._step = OptimizerStep(self.model, optimizer, objective, shape, self._characters)
        self._steps = TrainingSteps(self._step)
        self._reader: Reader | None = None
        rows = tf.TensorSpec((EVAL_ROWS, config.seq_len), tf.int32)
        self._eval_graph = compiled(self._eval_rows, [rows, rows])

    def take_over(self, config: RunConfig) -> bool:
        """Goes over to another configuration, without compiling anew; False if its graphs are others.

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
        """How often a training step was compiled; one per process, whatever the clients."""
        return self._step.traces

    @property
    def weights(self) -> Weights:
        """Current weights, in Keras order."""
        return tuple(v.numpy() for v in self._variables)

    def train(
        self,
        weights: Weights,
        documents: list[str],
        rng: np.random.Generator,
        server_round: int = 1,
        proximal_mu: float | None = None,
    ) -> tuple[Weights, TextMetrics]:
        """Trains one client from the global weights.

        Args:
          weights: global weights; not modified.
          documents: the client's training text.
          rng: shuffles rows, epoch by epoch, and seeds dropout; it stands for (seed, purpose, round, client).
          server_round: for the learning-rate schedule, from 1.
          proximal_mu: FedProx' mu, if not the configuration's.

        Returns:
          The update (local - global) and the sums of the training loss over all epochs.
        """
        inputs, targets = self._batching.rows(documents)
        kept = len(inputs) - (int(self.config.client_holdout * len(inputs)) if self.config.client_patience else 0)
        orders, seeds = self._batching.orders(kept, rng), self._dropout(rng)
        step = self.steps_from(weights, server_round, proximal_mu)

        def run(epochs: Orders, *, fresh: bool = True) -> tuple[Weights, TextMetrics]:
            rows, nexts = self._batching.batches(inputs, targets, epochs, rng)
            metrics, moved = TextMetrics(), list[tf.Tensor]()
            for at in range(0, max(len(rows), 1), program.BLOCK):
                until = at + program.BLOCK
                moved, told = step([Piece(rows[at:until], nexts[at:until], seeds, begins=fresh and at == 0)])
                metrics += told[0][1]
            return tuple(np.asarray(m) for m in moved), metrics  # not `numpy()`, which copies

        if kept == len(inputs):
            return run(orders)
        return self._stop_early(weights, orders, run, inputs[kept:], targets[kept:])

    def steps_from(
        self, weights: Weights, server_round: int = 1, proximal_mu: float | None = None
    ) -> Callable[..., tuple[list[tf.Tensor], list[tuple[bool, TextMetrics]]]]:
        """Returns `TrainingSteps.run` from the global weights, at a round's learning rate."""
        self._reader = None
        mu = self.config.proximal_mu if proximal_mu is None else proximal_mu
        rate = self._learning_rate * rate_factor(self.config.client_schedule, server_round)
        return partial(self._steps.run, self._held(weights), rate=rate, mu=mu)

    @property
    def update_sums(self) -> IntSums:
        """The exact sum of the updates that those steps added."""
        return self._steps.sums

    def batches_of(self, documents: list[str], rng: np.random.Generator) -> tuple[Batches, Batches, Seeds]:
        """Returns all that `train` steps on: inputs and targets (batches, batch, seq_len), and the seeds of dropout."""
        inputs, targets = self._batching.rows(documents)
        orders, seeds = self._batching.orders(len(inputs), rng), self._dropout(rng)
        return *self._batching.batches(inputs, targets, orders, rng), seeds

    def _dropout(self, rng: np.random.Generator) -> Seeds:
        """Draws the seeds of the model's dropout generators, (generators, 2)."""
        return rng.integers(0, 2**31, (len(self._step.seeds), 2))

    def _stop_early(
        self,
        weights: Weights,
        orders: Orders,
        run: Callable[..., tuple[Weights, TextMetrics]],
        inputs: Ids,
        targets: Ids,
    ) -> tuple[Weights, TextMetrics]:
        """Runs epochs until the client's own held-out rows gain nothing; ends in the best epoch's weights."""
        metrics, best, waited = TextMetrics(), math.inf, 0
        kept, update = weights, tuple(np.zeros_like(w) for w in weights)
        for epoch, order in enumerate(orders):
            moved, figures = run([order], fresh=epoch == 0)
            metrics += figures
            loss = self._evaluated([(inputs, targets)])[0].loss_sum
            waited = 0 if loss < best else waited + 1
            if loss < best:
                best, kept, update = loss, self.weights, moved
            if waited >= self.config.client_patience:
                break
        self._set(*kept)
        return update, metrics

    def evaluate(self, weights: Weights | None, documents: list[str]) -> TextMetrics:
        """Returns the sums over one client's documents; `weights` None keeps those of the last call."""
        return self.evaluate_each(weights, [documents])[0]

    def evaluate_each(self, weights: Weights | None, shards: Iterable[list[str]]) -> list[TextMetrics]:
        """Returns the sums over each client's documents: what `evaluate` returns, sooner; see `packing`."""
        if weights is not None:
            self.assign(weights)
        rest, figures = iter(shards), list[TextMetrics]()
        while pack := list(islice(rest, PACK)):
            figures += self._evaluated(self._batching.rows(documents) for documents in pack)
        return figures

    def sums(self, owners: Iterable[tuple[Ids, Ids]]) -> list[TextMetrics]:
        """Returns each owner's sums over its rows as they are, (rows, seq_len) inputs and targets; a target 0 is not counted."""
        return sums_by_owner(owners, self._row_sums, EVAL_ROWS)

    def num_tokens(self, documents: list[str]) -> int:
        """Returns the training targets of one epoch in the run's own vocabulary (a vault may be sealed with another)."""
        return self._batching.num_tokens(documents)

    def next_logits(self, ids: list[int]) -> npt.NDArray[np.float32]:
        """Returns the logits (vocab_size,) of the symbol after `ids`; the model reads only what it has not read."""
        if self._reader is None:
            self._reader = Reader(steps_of(self.model))
        return self._reader.logits(ids)

    def save(self, path: Path) -> None:
        """Writes the model as a `.keras` file that plain Keras opens; of a pretrained model, with `keras_hub` imported."""
        save_model(self.model, path)

    def assign(self, weights: Weights) -> None:
        """Sets the weights."""
        self._assign(*self._held(weights))
        self._reader = None

    def _held(self, weights: Weights) -> list[tf.Tensor]:
        """Returns tensors; the clients of a chunk all begin from the same ones. The arrays themselves are not held."""
        known, tensors = self._assigned
        if known is None or known() is not weights[0]:
            tensors = [tf.constant(w) for w in weights]
            self._assigned = weakref.ref(weights[0]), tensors
        return tensors

    def _set(self, *values: tf.Tensor) -> None:
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)

    def _evaluated(self, owners: Iterable[tuple[Ids, Ids]]) -> list[TextMetrics]:
        drawn = (self._batching.drawn(i, t, np.random.default_rng([self.config.seed, MASKS])) for i, t in owners)
        return self.sums(drawn)

    def _row_sums(self, inputs: Ids, targets: Ids) -> RowSums:
        losses, counts = self._eval_graph(inputs, targets)
        return losses.numpy(), counts.numpy()

    def _eval_rows(self, inputs: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the sums of each row."""
        return token_sums(self.model(inputs, training=False), targets, self._characters, axis=-1)
