"""Two layers with the same weights that ought to be one."""

import keras
import numpy as np
import tensorflow as tf

from fedlm.layers.device import compiled

WAYS = ("plain", "xla", "kernels")


def assert_agree(
    ours: keras.layers.Layer, theirs: keras.layers.Layer, shape: tuple[int, ...], seed: int, way: str
) -> None:
    """Gives both the same random weights and input; outputs and every gradient agree to 1e-5. `way` is one of WAYS."""
    rng = np.random.default_rng(seed)
    x = tf.Variable(rng.normal(size=shape).astype("float32"))
    theirs.build(shape)
    ours.build(shape)
    weights = [rng.normal(size=w.shape).astype("float32") for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)

    def run(layer: keras.layers.Layer) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            y = layer(x, training=True)
            loss = tf.reduce_sum(tf.sin(3.0 * y))
        return y, tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])

    expected, expected_gradients = run(theirs)
    if way == "kernels":
        found, gradients = compiled(lambda: run(ours), [])()
    else:
        found, gradients = tf.function(lambda: run(ours), jit_compile=way == "xla")()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for a, b in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(1.0, float(tf.reduce_max(tf.abs(b)))))
