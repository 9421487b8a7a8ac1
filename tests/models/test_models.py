"""What every model must do: known sizes, gradients, causality, plain files, learning."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlm.errors import ConfigError
from fedlm.models.catalog import check_model, is_pretrained, model_names
from fedlm.models.registry import build_model, plain_copy
from fedlm.training.trainer import LocalTrainer
from tests.support.models import TINY, VARIANTS

pytestmark = pytest.mark.slow
VOCAB, STEPS = 11, 7


def ids(seed: int, rows: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, VOCAB, (rows, STEPS)).astype(np.int32)


def test_every_model_has_a_tiny_instance() -> None:
    assert set(TINY) == {name for name in model_names() if not is_pretrained(name)}  # others: test_pretrained.py


@pytest.mark.parametrize(
    ("spec", "vocab_size", "count"),
    [
        ("lstm", 90, 820_522),  # McMahan et al. 2017
        ("lstm(units=670, layers=1, embedding=96, projection=96)", 10_004, 4_050_748),  # Reddi et al. 2021
        # by hand: embedding 5 * 3, W 3 * 4, U 4 * 4, b 4, V 4 * 5, c 5
        ("rnn(units=4, layers=1, embedding=3)", 5, 15 + 12 + 16 + 4 + 20 + 5),
        ("lstm(units=4, layers=1, embedding=3, cifg=True)", 5, 15 + 3 * (12 + 16 + 4) + 20 + 5),
        ("gru(units=4, layers=1, embedding=3, tied=True)", 5, 15 + 3 * (12 + 16 + 8) + (12 + 3)),
    ],
)
def test_parameter_counts(spec: str, vocab_size: int, count: int) -> None:
    assert build_model(spec, vocab_size, 20).count_params() == count


@pytest.mark.parametrize("spec", VARIANTS)
def test_gradients_are_slopes(spec: str) -> None:
    """Along a random direction, the gradient's product is the central difference, in float64."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        model = build_model(spec, VOCAB, STEPS, seed=3)
        rng = np.random.default_rng(0)
        values = [rng.normal(0, 0.5, v.shape) for v in model.trainable_variables]
        direction = [rng.normal(size=v.shape) for v in values]
        mix = rng.normal(size=(2, STEPS, VOCAB))

        def loss(shift: float) -> tf.Tensor:
            for variable, value, way in zip(model.trainable_variables, values, direction, strict=True):
                variable.assign(value + shift * way)
            return tf.reduce_sum(tf.cast(model(ids(1), training=False), tf.float64) * mix)

        with tf.GradientTape() as tape:
            at = loss(0.0)
        found = tape.gradient(at, [v.value for v in model.trainable_variables])
        slope = sum(np.sum(tf.convert_to_tensor(g).numpy() * d) for g, d in zip(found, direction, strict=True))
        difference = (loss(1e-5) - loss(-1e-5)) / 2e-5
        np.testing.assert_allclose(slope, difference, rtol=1e-4)
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("spec", VARIANTS)
def test_no_output_depends_on_a_later_input(spec: str) -> None:
    model = build_model(spec, VOCAB, STEPS)
    run = tf.function(lambda rows: model(rows, training=False))

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, STEPS - 1), st.integers(0, 10**6))
    def holds(place: int, seed: int) -> None:
        rows = ids(seed)
        changed = rows.copy()
        changed[:, place + 1 :] = ids(seed + 1)[:, place + 1 :]
        np.testing.assert_array_equal(run(rows)[:, : place + 1], run(changed)[:, : place + 1])

    holds()


OPEN = """
import sys
sys.modules["fedlm"] = None
import keras, numpy as np
for i in range(int(sys.argv[1])):
    model = keras.saving.load_model(f"m{i}.keras")
    np.save(f"m{i}.npy", model(np.load("ids.npy"), training=False))
"""


def test_files_open_without_this_package(tmp_path: Path) -> None:
    models = [build_model(spec, VOCAB, STEPS, seed=1) for spec in VARIANTS]
    np.save(tmp_path / "ids.npy", ids(0))
    for place, model in enumerate(models):
        plain_copy(model).save(tmp_path / f"m{place}.keras")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    words = [sys.executable, "-c", OPEN, str(len(models))]
    subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True)
    for place, model in enumerate(models):
        opened = np.load(tmp_path / f"m{place}.npy")
        np.testing.assert_allclose(opened, model(ids(0), training=False), atol=1e-5)


@pytest.mark.parametrize("spec", TINY.values())
def test_learns_a_planted_sequence(spec: str, tiny_config: Any) -> None:
    text = "abcde" * 40  # after any symbol but the end there is one next symbol
    config = tiny_config(model=spec, local_epochs=40, batch_size=4, client_optimizer="adam(learning_rate=0.02)")
    trainer, rng = LocalTrainer(config), np.random.default_rng(0)
    update, _ = trainer.train(trainer.weights, [text], rng)
    trained = trainer.weights
    trainer.train(trained, ["another client", "with other text"], rng)
    assert trainer.traces == 1  # one compilation, whatever the clients
    figures = trainer.evaluate(trained, [text])
    assert figures.tokens == len(text) + 1
    assert (figures.correct + 1) / figures.tokens > 0.99  # the end itself cannot be foreseen
    assert max(np.abs(u).max() for u in update) > 0


@pytest.mark.parametrize("spec", ["lstm(units=8)", *(v for v in VARIANTS if "dropout" in v)])
def test_dropout_is_off_in_evaluation_and_seeded_in_training(spec: str, tiny_config: Any) -> None:
    trainer = LocalTrainer(tiny_config(model=spec, client_optimizer="sgd(learning_rate=0.1)"))
    start = trainer.weights

    def update(seed: int) -> list[bytes]:
        return [u.tobytes() for u in trainer.train(start, ["hello world"], np.random.default_rng(seed))[0]]

    first = update(1)
    assert trainer.evaluate(start, ["hello"]) == trainer.evaluate(start, ["hello"])
    update(2)
    assert update(1) == first
    one_row = [u.tobytes() for u in trainer.train(start, ["hi"], np.random.default_rng(1))[0]]
    other = [u.tobytes() for u in trainer.train(start, ["hi"], np.random.default_rng(2))[0]]
    assert (one_row == other) == ("dropout" not in spec)  # one row cannot be shuffled: only masks differ
    assert trainer.traces == 1


@pytest.mark.parametrize("model", ["rnn", "gru", "lstm", "lstm(cifg=True)"])
def test_recurrent_dropout_alone_changes_training(model: str, tiny_config: Any) -> None:
    name, _, options = model.rstrip(")").partition("(")
    spec = f"{name}(units=8, recurrent_dropout={{}}{', ' if options else ''}{options})"
    without, half = (LocalTrainer(tiny_config(model=spec.format(rate))) for rate in (0.0, 0.5))
    rng = np.random.default_rng
    assert any(
        a.tobytes() != b.tobytes()
        for a, b in zip(
            without.train(without.weights, ["hi"], rng(1))[0], half.train(half.weights, ["hi"], rng(1))[0], strict=True
        )
    )


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("elmo", "the models are: bert, gpt2, gru, lstm, rnn, transformer"),
        ("lstm(size=3)", "its options are: units, layers"),
        ("rnn(units='x')", "is not a int"),
        ("rnn(units=True)", "is not a int"),
        ("gru(dropout='x')", "is not a float"),
        ("gru(dropout=1.0)", "not a share of at least 0 and below 1"),
        ("lstm(recurrent_dropout=-0.1)", "not a share of at least 0 and below 1"),
        ("rnn(units=0)", "is below 1"),
        ("rnn(projection=-1)", "is below 0"),
        ("gpt2(lora_alpha=0.0)", "not a positive number"),
    ],
)
def test_wrong_specs_name_the_right_ones(spec: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_model(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "lstm(tied=True, projection=3)",
        "transformer(width=10, heads=3)",
        "transformer(width=6, heads=2, positions='rotary')",
        "transformer(positions='none')",
    ],
)
def test_values_out_of_range(spec: str) -> None:
    with pytest.raises(ConfigError, match="does not build: Expected"):
        build_model(spec, VOCAB, STEPS)
