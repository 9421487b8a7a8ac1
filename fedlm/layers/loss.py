"""Softmax cross-entropy and first guesses over long vocabularies, in few passes over the logits.

  CE(x, y)        = log(sum_j exp(x_j)) - x_y = log(sum_j exp(x_j - m)) - (x_y - m),   m = max_j x_j
  d CE / d x_j    = exp(x_j) / sum_k exp(x_k) - [j = y]

With a vocabulary of 10,000 words the logits of a batch have 13 MB: a pass over them costs as much
as a small matrix product. TensorFlow's own loss makes seven passes in training, and its argmax one
that XLA does not vectorise.
"""

from typing import Any

import tensorflow as tf


@tf.custom_gradient
def cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> Any:
    """Returns CE in nats, (...), from logits (..., vocab_size) and targets (...)."""
    rows = tf.reshape(logits, (-1, logits.shape[-1]))  # two axes, as a product has them: XLA reduces these fastest
    top = tf.reduce_max(rows, -1, keepdims=True)
    log_sum = tf.math.log(tf.reduce_sum(tf.exp(rows - top), -1, keepdims=True))
    top, log_sum = (tf.reshape(r, tf.concat((tf.shape(targets), [1]), 0)) for r in (top, log_sum))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        # two subtractions: beside large logits, the float32 sum `top + log_sum` would lose the
        # digits of `log_sum`
        chances = tf.exp(logits - top - log_sum)
        return (chances - _at(targets, logits)) * upstream[..., None], None

    return (log_sum - (_picked(logits, targets) - top))[..., 0], gradient


def is_first_guess(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Returns whether a target is the argmax (of equal logits the first), (...) bool; false where a logit is NaN."""
    own, place = _picked(logits, targets), tf.range(logits.shape[-1])
    behind = (logits < own) | ((logits == own) & (place >= targets[..., None]))  # NaN compares false
    return tf.reduce_all(behind, -1)


def _picked(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    return tf.gather(logits, targets[..., None], batch_dims=targets.shape.rank)


def _at(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.one_hot(targets, logits.shape[-1], dtype=logits.dtype)
