"""The dense layer of long vocabularies agrees with Keras' own, outputs and every gradient."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from fedlm.models.fused_dense import LONG, FusedDense
from fedlm.models.registry import build_model, plain_copy

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5)])
@pytest.mark.parametrize("units", [3, LONG, LONG + 7])
@pytest.mark.parametrize("options", [{}, {"use_bias": False}, {"activation": "tanh"}])
@pytest.mark.parametrize("xla", [True, False])
def test_outputs_and_gradients_agree(
    shape: tuple[int, int, int], units: int, options: dict[str, object], xla: bool
) -> None:
    rng = np.random.default_rng(units)
    x = tf.Variable(rng.normal(size=shape).astype("float32"))
    theirs, ours = (kind(units, **options) for kind in (keras.layers.Dense, FusedDense))
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
    found, gradients = tf.function(lambda: run(ours), jit_compile=xla)()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for a, b in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(1.0, float(tf.reduce_max(tf.abs(b)))))


def test_hand_worked() -> None:
    layer = FusedDense(LONG)
    layer.build((1, 2))
    layer.set_weights([np.full((2, LONG), 2.0, "float32"), np.arange(LONG, dtype="float32")])
    np.testing.assert_array_equal(layer(np.array([[1.0, 10.0]], "float32"))[0], 22 + np.arange(LONG))


def test_saved_model_is_kerass_own(tmp_path: Path) -> None:
    model = build_model("lstm(units=4, layers=1, embedding=3)", vocab_size=LONG, seq_len=5)
    assert isinstance(model.layers[-1], FusedDense)
    plain = plain_copy(model)
    assert type(plain.layers[-1]) is keras.layers.Dense
    ids = np.arange(10, dtype="int32").reshape(2, 5)
    np.testing.assert_allclose(plain(ids), model(ids), atol=1e-6)
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "m.keras")(ids), model(ids))
