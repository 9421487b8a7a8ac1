"""What every model must do, whoever wrote it: gradients, causality, one compilation, the same bits, a saved form.

Runs on each file of `fedlm/models/` at small sizes, on variants of their options, and on a model in
one file outside fedlm.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlm.config import RunConfig
from fedlm.models.catalog import is_pretrained, model_about
from fedlm.models.registry import build_model, save_model
from fedlm.training.decoding import Reader, steps_of
from fedlm.training.trainer import LocalTrainer
from tests.support.models import MODELS, TINY, VARIANTS, contract_spec

pytestmark = pytest.mark.slow
STEPS = 7
ALL = [*MODELS, *(v for v in VARIANTS if v not in TINY.values())]


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("presets")


def config(model: str, presets: Path, **values: Any) -> RunConfig:
    """Returns a configuration of a model by its name or spec."""
    spec = contract_spec(model, presets) if model in MODELS else model
    vocabulary = {} if is_pretrained(model.partition("(")[0]) else {"vocabulary": "chars(placeholders=0)"}
    return RunConfig.checked({"model": spec, "seq_len": STEPS, "batch_size": 2, **vocabulary, **values})


def built(model: str, presets: Path) -> keras.Model:
    made = config(model, presets)
    return build_model(made.model, made.vocab.size, STEPS, seed=3)


def ids(model: keras.Model, seed: int, rows: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(4, model.output_shape[-1], (rows, STEPS)).astype(np.int32)


def about_masked(model: str) -> bool:
    return model_about(model.partition("(")[0]).is_masked


@pytest.fixture
def float64() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.usefixtures("float64")
def test_gradients_are_slopes(name: str, presets: Path) -> None:
    """Along a random direction, the gradient's product is the central difference, in float64."""
    model = built(name, presets)
    rng, variables, rows = np.random.default_rng(0), model.trainable_variables, ids(model, 1)
    values = [v.numpy() + rng.normal(0, 0.3, v.shape) for v in variables]
    direction = [rng.normal(size=v.shape) for v in values]
    mix = rng.normal(size=(2, STEPS, model.output_shape[-1]))

    def loss(shift: float) -> tf.Tensor:
        for variable, value, way in zip(variables, values, direction, strict=True):
            variable.assign(value + shift * way)
        return tf.reduce_sum(tf.cast(model(rows, training=False), tf.float64) * mix)

    with tf.GradientTape() as tape:
        at = loss(0.0)
    found = tape.gradient(at, [v.value for v in variables])
    slope = sum(np.sum(tf.convert_to_tensor(g).numpy() * d) for g, d in zip(found, direction, strict=True))
    np.testing.assert_allclose(slope, (loss(1e-5) - loss(-1e-5)) / 2e-5, rtol=1e-4)


def scattered(model: keras.Model) -> keras.Model:
    """Returns the model with random weights: an untrained adapter would hide what it reads."""
    rng = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign(variable.numpy() + rng.normal(0, 0.3, variable.shape))
    return model


@pytest.mark.parametrize("name", ALL)
def test_no_output_depends_on_a_later_input_unless_it_fills_hidden_tokens(name: str, presets: Path) -> None:
    model = scattered(built(name, presets))
    run = tf.function(lambda rows: model(rows, training=False))
    if about_masked(name):
        rows = ids(model, 0)
        changed = rows.copy()
        changed[:, -1] = rows[:, -1] % 7 + 4
        assert not np.array_equal(run(rows)[:, 0], run(changed)[:, 0])
        return

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, STEPS - 1), st.integers(0, 10**6))
    def holds(place: int, seed: int) -> None:
        rows = ids(model, seed)
        changed = rows.copy()
        changed[:, place + 1 :] = ids(model, seed + 1)[:, place + 1 :]
        np.testing.assert_array_equal(run(rows)[:, : place + 1], run(changed)[:, : place + 1])

    holds()


@pytest.mark.parametrize("name", [m for m in ALL if not about_masked(m)])
def test_reading_symbol_by_symbol_gives_what_the_whole_row_gives(name: str, presets: Path) -> None:
    model = scattered(built(name, presets))
    row = ids(model, 2, rows=1)
    whole = np.asarray(model(row, training=False))[0]
    steps = steps_of(model, config(name, presets).model)
    reader = Reader(steps)
    for place in range(STEPS):
        np.testing.assert_allclose(reader.logits(row[0, : place + 1].tolist()), whole[place], atol=2e-5)
    assert steps.count == STEPS


@pytest.mark.parametrize("name", MODELS)
def test_one_compilation_the_same_bits_whoever_was_before_and_a_planted_sequence_is_learned(
    name: str, presets: Path
) -> None:
    text, other = "abcde" * 40, ["another client", "with rows of other lengths " * 9]
    if model_about(name).is_masked:  # word pieces: a word of 200 letters is an unknown one, which is no target
        text = "abcde " * 40
    options = {"seq_len": 10, "local_epochs": 40, "batch_size": 4, "client_optimizer": "adam(learning_rate=0.02)"}
    trainer = LocalTrainer(config(name, presets, **options))
    start = trainer.weights

    def update() -> list[bytes]:
        return [u.tobytes() for u in trainer.train(start, [text], np.random.default_rng(1))[0]]

    alone = update()
    figures = trainer.evaluate(None, [text])
    trainer.train(start, other, np.random.default_rng(2))
    assert update() == alone and any(any(u) for u in alone)
    assert trainer.evaluate(None, [text]) == figures and trainer.traces == 1
    if not is_pretrained(name):  # adapters of random weights learn little: test_pretrained.py
        assert figures.tokens == len(text) + 1  # after any symbol but the end there is one next symbol
        assert (figures.correct + 1) / figures.tokens > 0.99  # the end itself cannot be foreseen


OPEN = """
import sys
sys.modules["fedlm"] = sys.modules["tests"] = None
import keras, keras_hub, numpy as np
for i in range(int(sys.argv[1])):
    model = keras.saving.load_model(f"m{i}.keras")
    np.savez(f"m{i}.npz", *[np.asarray(v) for v in model.variables])
    if isinstance(model.input_shape, tuple):  # ids; KerasHub's own tasks take a dictionary
        np.save(f"m{i}.npy", model(np.load(f"ids{i}.npy"), training=False))
"""


def test_files_open_without_this_package(presets: Path, tmp_path: Path) -> None:
    models = [scattered(built(name, presets)) for name in ALL]
    for place, model in enumerate(models):
        np.save(tmp_path / f"ids{place}.npy", ids(model, 0))
        save_model(model, tmp_path / f"m{place}.keras")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    words = [sys.executable, "-c", OPEN, str(len(models))]
    subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True)
    for place, (name, model) in enumerate(zip(ALL, models, strict=True)):
        assert np.load(tmp_path / f"m{place}.npz").files
        if not is_pretrained(name.partition("(")[0]):  # what those give: test_pretrained.py
            opened = np.load(tmp_path / f"m{place}.npy")
            np.testing.assert_allclose(opened, model(ids(model, 0), training=False), atol=1e-5)
