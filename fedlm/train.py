"""Local training: one compiled model per process, fixed (batch, sequence) shapes, no tracing from client to client."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fedlm.config import CLIENT_OPTIMIZERS, RunConfig
from fedlm.data.masked import hide, num_hidden, whole_rows
from fedlm.data.pieces import PieceVocabulary
from fedlm.data.tokens import windows
from fedlm.models.catalog import is_masked
from fedlm.models.optimizers import ClientOptimizer
from fedlm.models.registry import build_model, save_model
from fedlm.models.steps import Reader, steps_of
from fedlm.packing import PACK, RowSums, sums_by_owner
from fedlm.schedules import rate_factor
from fedlm.types import Ids, TextMetrics, Weights

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
      traces: how often a training step was compiled; one per process, whatever the clients.
      is_masked: the model fills hidden symbols and cannot go on with a text.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.traces = 0
        self.vocab = config.vocab
        self.model = build_model(config.model, self.vocab.size, config.seq_len, config.seed)
        self.is_masked = is_masked(config.spec("model").name)
        self._variables = self.model.trainable_variables
        spec = config.spec("client_optimizer")
        options = {**CLIENT_OPTIMIZERS[spec.name], **spec.options}
        self._learning_rate = float(options["learning_rate"])
        self._optimizer = ClientOptimizer(spec.name, options, self._variables)
        self._seeds = [v for v in self.model.variables if "seed_generator" in v.path]
        self._assigned: tuple[Weights, list[tf.Tensor]] = ((), [])
        self._anchors: list[tf.Variable] = []
        self._ids = tf.TensorSpec((None, None, config.seq_len), tf.int32)
        # One call each for a dozen variables.
        shapes = [tf.TensorSpec(v.shape, v.dtype) for v in self._variables]
        self._begin = tf.function(self._begin_client, input_signature=shapes, autograph=False)
        self._moved = tf.function(self._end_client, input_signature=shapes, autograph=False)
        # XLA on a CPU only: on a GPU it would keep Keras from its cuDNN path. AutoGraph would write source files into TMPDIR.
        on_cpu = not tf.config.list_physical_devices("GPU")
        self._step = tf.function(self._train_step, jit_compile=on_cpu, autograph=False)
        self._graphs: dict[bool, Any] = {}
        self._reader: Reader | None = None
        rows = tf.TensorSpec((EVAL_ROWS, config.seq_len), tf.int32)
        self._eval_graph = tf.function(self._eval_rows, input_signature=[rows, rows], autograph=False)

    def take_over(self, config: RunConfig) -> bool:
        """Goes over to another configuration, without compiling anew; False if its graphs are others.

        The weights become the initial ones of its seed, as in a new trainer.
        """
        if any(getattr(config, k) != getattr(self.config, k) for k in _COMPILED):
            return False
        self.config = config
        fresh = build_model(config.model, self.vocab.size, config.seq_len, config.seed)
        self.assign(tuple(v.numpy() for v in fresh.trainable_variables))
        return True

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
        inputs, targets = self._rows(documents)
        kept = len(inputs) - (int(self.config.client_holdout * len(inputs)) if self.config.client_patience else 0)
        orders = [rng.permutation(kept) for _ in range(self.config.local_epochs)]
        start = self._held(weights)
        self._begin(*start)
        self._reader = None
        for seed in self._seeds:
            seed.assign(rng.integers(0, 2**31, 2))
        mu = self.config.proximal_mu if proximal_mu is None else proximal_mu
        rate = self._learning_rate * rate_factor(self.config.client_schedule, server_round)
        graph = self._train_graph(weights, mu)

        def run(epochs: list[npt.NDArray[np.int64]]) -> TextMetrics:
            drawn = [self._drawn(inputs[o], targets[o], rng) for o in epochs]
            rows, nexts = ([self._batches(part) for part in parts] for parts in zip(*drawn, strict=True))
            return self._metrics(graph(np.concatenate(rows), np.concatenate(nexts), np.float32(rate), np.float32(mu)))

        metrics = self._stop_early(orders, run, inputs[kept:], targets[kept:]) if kept < len(inputs) else run(orders)
        return tuple(np.asarray(u) for u in self._moved(*start)), metrics  # not `numpy()`, which copies

    def _stop_early(
        self, orders: list[npt.NDArray[np.int64]], run: Callable[..., TextMetrics], inputs: Ids, targets: Ids
    ) -> TextMetrics:
        """Runs epochs until the client's own held-out rows gain nothing; ends in the best epoch's weights."""
        metrics, best, kept, waited = TextMetrics(), math.inf, self.weights, 0
        for order in orders:
            metrics += run([order])
            loss = self._evaluated([(inputs, targets)])[0].loss_sum
            waited = 0 if loss < best else waited + 1
            if loss < best:
                best, kept = loss, self.weights
            if waited >= self.config.client_patience:
                break
        for variable, value in zip(self._variables, kept, strict=True):
            variable.assign(value)
        return metrics

    def evaluate(self, weights: Weights | None, documents: list[str]) -> TextMetrics:
        """Returns the sums over one client's documents; `weights` None keeps those of the last call."""
        return self.evaluate_each(weights, [documents])[0]

    def evaluate_each(self, weights: Weights | None, shards: Iterable[list[str]]) -> list[TextMetrics]:
        """Returns the sums over each client's documents: what `evaluate` returns, sooner; see `packing`."""
        if weights is not None:
            self.assign(weights)
        rest, figures = iter(shards), list[TextMetrics]()
        while pack := list(islice(rest, PACK)):
            figures += self._evaluated(self._rows(documents) for documents in pack)
        return figures

    def sums(self, owners: Iterable[tuple[Ids, Ids]]) -> list[TextMetrics]:
        """Returns each owner's sums over its rows as they are, (rows, seq_len) inputs and targets; a target 0 is not counted."""
        return sums_by_owner(owners, self._row_sums, EVAL_ROWS)

    def num_tokens(self, documents: list[str]) -> int:
        """Returns the training targets of one epoch in the run's own vocabulary (a vault may be sealed with another)."""
        if self.is_masked:
            return num_hidden(documents, self._pieces, self.config.seq_len)
        return sum(len(self.vocab.encode(d)) + 1 for d in documents)

    def next_logits(self, ids: list[int]) -> npt.NDArray[np.float32]:
        """Returns the logits (vocab_size,) of the symbol after `ids`; the model reads only what it has not read."""
        if self._reader is None:
            self._reader = Reader(steps_of(self.model))
        return self._reader.logits(ids)

    def save(self, path: Path) -> None:
        """Writes the model as a `.keras` file that plain Keras opens; of a pretrained model, with `keras_hub` imported."""
        save_model(self.model, path)

    def assign(self, weights: Weights) -> None:
        """Sets the weights and clears what the optimizer remembers."""
        self._begin(*self._held(weights))
        self._reader = None

    def _held(self, weights: Weights) -> list[tf.Tensor]:
        if self._assigned[0] is not weights:  # the clients of a chunk all begin from the same ones
            self._assigned = weights, [tf.constant(w) for w in weights]
        return self._assigned[1]

    def _begin_client(self, *start: tf.Tensor) -> None:
        for variable, value in zip(self._variables, start, strict=True):
            variable.assign(value)
        self._optimizer.reset()

    def _end_client(self, *start: tf.Tensor) -> list[tf.Tensor]:
        return [v.value - w for v, w in zip(self._variables, start, strict=True)]

    @property
    def _pieces(self) -> PieceVocabulary:
        assert isinstance(self.vocab, PieceVocabulary)
        return self.vocab

    def _rows(self, documents: list[str]) -> tuple[Ids, Ids]:
        if self.is_masked:
            return whole_rows(documents, self._pieces, self.config.seq_len)
        return windows(documents, self.vocab, self.config.seq_len)

    def _drawn(self, inputs: Ids, targets: Ids, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """Returns rows as the model sees them in one epoch: for masked prediction, some of their tokens hidden."""
        return hide(inputs, targets, self._pieces, rng) if self.is_masked else (inputs, targets)

    def _evaluated(self, owners: Iterable[tuple[Ids, Ids]]) -> list[TextMetrics]:
        drawn = (self._drawn(i, t, np.random.default_rng([self.config.seed, MASKS])) for i, t in owners)
        return self.sums(drawn)

    def _row_sums(self, inputs: Ids, targets: Ids) -> RowSums:
        losses, counts = self._eval_graph(inputs, targets)
        return losses.numpy(), counts.numpy()

    def _train_graph(self, weights: Weights, mu: float) -> Any:
        """Returns the graph of a whole client, with FedProx' term if there is a mu; each is compiled once."""
        proximal = mu > 0
        if proximal:
            self._anchors = self._anchors or [tf.Variable(w) for w in weights]
            for anchor, value in zip(self._anchors, weights, strict=True):
                anchor.assign(value)
        if proximal not in self._graphs:
            number = tf.TensorSpec((), tf.float32)
            signature = [self._ids, self._ids, number, number]
            batches = partial(self._train_batches, proximal)
            self._graphs[proximal] = tf.function(batches, input_signature=signature, autograph=False)
        return self._graphs[proximal]

    def _batches(self, rows: Ids) -> npt.NDArray[np.int32]:
        size = self.config.batch_size
        count = -(-len(rows) // size)
        padded = np.zeros((count * size, self.config.seq_len), np.int32)
        padded[: len(rows)] = rows
        return padded.reshape(count, size, self.config.seq_len)

    def _sums(self, logits: tf.Tensor, targets: tf.Tensor, axis: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the loss sum in nats (float32) and [correct, tokens, characters] (int64), of a batch or (-1) of each row."""
        mask = targets > 0
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        correct = (tf.argmax(logits, -1, tf.int32) == targets) & mask
        characters = tf.where(mask, tf.gather(tf.constant(self.vocab.characters), targets), 0)
        counts = [tf.reduce_sum(tf.cast(m, tf.int64), axis) for m in (correct, mask, characters)]
        return tf.reduce_sum(tf.where(mask, losses, 0.0), axis), tf.stack(counts, -1)

    def _train_batches(
        self, proximal: bool, inputs: tf.Tensor, targets: tf.Tensor, rate: tf.Tensor, mu: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        shape, count = (self.config.batch_size, self.config.seq_len), tf.shape(inputs)[0]

        def one(batch: tf.Tensor, loss_sum: tf.Tensor, counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            rows, nexts = tf.ensure_shape(inputs[batch], shape), tf.ensure_shape(targets[batch], shape)
            loss, seen = self._step(proximal, rows, nexts, rate, mu)
            return batch + 1, loss_sum + tf.cast(loss, tf.float64), counts + seen

        start = (tf.constant(0), tf.constant(0.0, tf.float64), tf.zeros(3, tf.int64))
        _, loss_sum, counts = tf.while_loop(lambda batch, *_: batch < count, one, start, parallel_iterations=1)
        return loss_sum, counts

    def _train_step(
        self, proximal: bool, inputs: tf.Tensor, targets: tf.Tensor, rate: tf.Tensor, mu: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """One optimizer step on one batch, (batch, seq_len).

        The loss is the sum over real targets divided by batch * seq_len, as in the published setting: a batch that is
        mostly padding takes a small step, not a noisy one.
        """
        self.traces += 1
        with tf.GradientTape() as tape:
            logits = self.model(inputs, training=True)
            loss, seen = self._sums(logits, targets)
            objective = self._smoothed(loss, logits, targets) / float(self.config.batch_size * self.config.seq_len)
            objective += self._penalty()
            if proximal:
                distances = [tf.nn.l2_loss(v - a) for v, a in zip(self._variables, self._anchors, strict=True)]
                objective += mu * tf.add_n(distances)
        self._optimizer.apply(tape.gradient(objective, [v.value for v in self._variables]), rate)
        return loss, seen

    def _smoothed(self, loss: tf.Tensor, logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Returns the loss sum against targets mixed with the uniform distribution (Szegedy et al. 2016)."""
        share = self.config.label_smoothing
        if not share:
            return loss
        uniform = tf.reduce_logsumexp(logits, -1) - tf.reduce_mean(logits, -1)
        return (1 - share) * loss + share * tf.reduce_sum(tf.where(targets > 0, uniform, 0.0))

    def _penalty(self) -> tf.Tensor | float:
        kernels = [v.value for v in self._variables if v.name.endswith("kernel")]
        penalty = self.config.l1 * tf.add_n([tf.reduce_sum(tf.abs(k)) for k in kernels]) if self.config.l1 else 0.0
        if self.config.l2:
            penalty += self.config.l2 * tf.add_n([tf.reduce_sum(k * k) for k in kernels])
        return penalty

    def _eval_rows(self, inputs: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the sums of each row."""
        return self._sums(self.model(inputs, training=False), targets, axis=-1)

    @staticmethod
    def _metrics(sums: tuple[tf.Tensor, tf.Tensor]) -> TextMetrics:
        correct, tokens, characters = (int(c) for c in sums[1].numpy())
        return TextMetrics(float(sums[0].numpy()), correct, tokens, characters)
