"""A client's optimizer, whose state is fresh for every client. With gradient g, step t and learning rate r:

  sgd       m = momentum m + g;                                      w = w - r m
  adagrad   s = s + g**2, from s = initial as in Keras;              w = w - r g / (sqrt(s) + epsilon)
  adam      m = beta_1 m + (1 - beta_1) g
            v = beta_2 v + (1 - beta_2) g**2;                        w = w - r m' / (sqrt(v') + epsilon)
            m' = m / (1 - beta_1**t), v' = v / (1 - beta_2**t)

Adagrad: Duchi et al. 2011, https://jmlr.org/papers/v12/duchi11a.html. Adam: Kingma and Ba 2015,
algorithm 1, https://arxiv.org/abs/1412.6980.
"""

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf


class ClientOptimizer:
    """Makes steps on variables; parts of a graph.

    Args:
      name: sgd, adam or adagrad.
      options: all its options, as numbers; `clip_norm` 0 does not clip.
      variables: the trained ones.
    """

    def __init__(self, name: str, options: Mapping[str, float], variables: Sequence[keras.Variable]) -> None:
        self._name, self._options, self._variables = name, options, variables
        kinds = {"sgd": 1 if options.get("momentum") else 0, "adam": 2, "adagrad": 1}[name]
        self._slots = [[tf.Variable(tf.zeros_like(v.value)) for v in variables] for _ in range(kinds)]
        self._steps = tf.Variable(0.0)

    def reset(self, fresh: tf.Tensor) -> None:
        """Sets the state to that of a new client if `fresh`, () bool."""
        for slot in (s for slots in self._slots for s in slots):
            slot.assign(tf.where(fresh, self._options.get("initial", 0.0), slot))
        self._steps.assign(tf.where(fresh, 0.0, self._steps))

    def apply(self, gradients: Sequence[tf.Tensor], rate: tf.Tensor) -> None:
        """Makes one step; before it, gradients are scaled to an L2 norm of `clip_norm` at most, all variables together.

        Args:
          gradients: one for each variable, in order.
          rate: learning rate, () float32.
        """
        dense = [tf.convert_to_tensor(g) for g in gradients]
        if self._options["clip_norm"]:
            dense, _ = tf.clip_by_global_norm(dense, self._options["clip_norm"])
        if self._name == "adam":
            self._steps.assign_add(1.0)
        for place, (variable, gradient) in enumerate(zip(self._variables, dense, strict=True)):
            variable.value.assign_sub(rate * self._direction(place, gradient))

    def _direction(self, place: int, gradient: tf.Tensor) -> tf.Tensor:
        """Returns what the learning rate is multiplied by, and updates the state of one variable."""
        options, slots = self._options, [s[place] for s in self._slots]
        if self._name == "sgd":
            return slots[0].assign(options["momentum"] * slots[0] + gradient) if slots else gradient
        if self._name == "adagrad":
            return gradient / (tf.sqrt(slots[0].assign_add(gradient * gradient)) + options["epsilon"])
        beta_1, beta_2 = options["beta_1"], options["beta_2"]
        mean = slots[0].assign(beta_1 * slots[0] + (1 - beta_1) * gradient) / (1 - beta_1**self._steps)
        square = slots[1].assign(beta_2 * slots[1] + (1 - beta_2) * gradient * gradient) / (1 - beta_2**self._steps)
        return mean / (tf.sqrt(square) + options["epsilon"])
