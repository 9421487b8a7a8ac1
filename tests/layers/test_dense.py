"""The dense layer of long vocabularies agrees with Keras' own, outputs and every gradient."""

from pathlib import Path

import keras
import numpy as np
import pytest

from fedlm.layers.dense import LONG, FusedDense
from fedlm.models.registry import build_model, plain_copy
from tests.support.agreement import WAYS, assert_agree

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5)])
@pytest.mark.parametrize("units", [3, LONG, LONG + 7])
@pytest.mark.parametrize("options", [{}, {"use_bias": False}, {"activation": "tanh"}])
@pytest.mark.parametrize("way", WAYS)
def test_outputs_and_gradients_agree(
    shape: tuple[int, int, int], units: int, options: dict[str, object], way: str
) -> None:
    ours, theirs = (kind(units, **options) for kind in (FusedDense, keras.layers.Dense))
    assert_agree(ours, theirs, shape, units, way)


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
