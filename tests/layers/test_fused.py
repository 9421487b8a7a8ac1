"""The fused layers agree with Keras' own, outputs and every gradient."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from fedlm.layers.fused import FusedLayer
from fedlm.layers.fused_gru import FusedGRU
from fedlm.layers.fused_lstm import FusedLSTM
from fedlm.layers.fused_rnn import FusedRNN
from tests.support.agreement import WAYS, assert_agree

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("fused", [FusedLSTM, FusedGRU, FusedRNN])
@pytest.mark.parametrize(
    ("batch", "steps", "inputs", "units", "seed"), [(1, 1, 1, 1, 0), (4, 9, 3, 8, 2), (17, 3, 5, 21, 1)]
)
@pytest.mark.parametrize("return_sequences", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_outputs_and_gradients_agree(
    fused: type[FusedLayer],
    batch: int,
    steps: int,
    inputs: int,
    units: int,
    seed: int,
    return_sequences: bool,
    way: str,
) -> None:
    ours, theirs = (kind(units, return_sequences=return_sequences) for kind in (fused, fused.plain))
    assert_agree(ours, theirs, (batch, steps, inputs), seed, way)


@pytest.mark.parametrize("fused", [FusedLSTM, FusedGRU, FusedRNN])
def test_gradients_with_a_mask_are_slopes(fused: type[FusedLayer]) -> None:
    """Recurrent dropout in the fused path: the gradient along a direction is the central difference, in float64."""
    rng = np.random.default_rng(3)
    layer = fused(4, dtype="float64")
    layer.build((2, 6, 3))
    values = [rng.normal(size=v.shape) for v in layer.trainable_variables]
    ways = [rng.normal(size=v.shape) for v in values]
    x, mask, mix = (
        rng.normal(size=(2, 6, 3)),
        tf.constant([[0.0, 2, 2, 0], [2, 0, 2, 2]], tf.float64),
        rng.normal(size=(2, 6, 4)),
    )

    def loss(weights: list[tf.Tensor]) -> tf.Tensor:
        return tf.reduce_sum(layer.run(tf.constant(x), *weights, mask) * mix)

    start = [tf.constant(v) for v in values]
    with tf.GradientTape() as tape:
        tape.watch(start)
        at = loss(start)
    slope = sum(float(tf.reduce_sum(g * w)) for g, w in zip(tape.gradient(at, start), ways, strict=True))
    after, before = (loss([tf.constant(v + s * w) for v, w in zip(values, ways, strict=True)]) for s in (1e-5, -1e-5))
    np.testing.assert_allclose(slope, (after - before) / 2e-5, rtol=1e-6)
    traced = tf.function(lambda: layer.run(tf.constant(x), *start, mask))()  # autograph keeps the custom gradient
    np.testing.assert_allclose(tf.reduce_sum(traced * mix), at, rtol=1e-12)
    assert not np.allclose(at, tf.reduce_sum(layer.run(tf.constant(x), *start, None) * mix))


def test_saved_model_opens_and_keras_path_serves_masks(tmp_path: Path) -> None:
    ids = keras.Input((5, 3))
    model = keras.Model(ids, FusedLSTM(4, return_sequences=True)(ids))
    model.save(tmp_path / "m.keras")
    x = np.ones((2, 5, 3), "float32")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "m.keras")(x), model(x))
    mask = np.array([[True] * 3 + [False] * 2] * 2)
    masked = model.layers[1](x, mask=mask)
    np.testing.assert_allclose(masked[:, 4], masked[:, 2])
