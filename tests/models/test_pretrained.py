"""GPT-2 and BERT from small random presets: exact adapters, gradients, causality, learning, files."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.layers.lora import TARGETS, Adapter
from fedlm.layers.pretrained import Pretrained, PretrainedSteps, pretrained_part
from fedlm.models.registry import build_model, save_model
from fedlm.training.decoding import Reader, steps_of
from fedlm.training.trainer import LocalTrainer
from tests.support.presets import FEEDFORWARD, POSITIONS, WIDTH, save_bert, save_gpt2

pytestmark = pytest.mark.slow
STEPS = 9
KINDS = ["gpt2", "bert"]


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("presets")
    made = {"gpt2": save_gpt2(folder / "g"), "bert": save_bert(folder / "b")}
    return {**made, "first": save_gpt2(folder / "f", end_first=True), "headless": save_bert(folder / "h", head=False)}


def config(kind: str, preset: Path, options: str = "", **values: Any) -> RunConfig:
    spec = f"{kind}(preset={str(preset)!r}{options})"
    shapes = {"seq_len": STEPS, "batch_size": 2, "client_optimizer": "adam(learning_rate=0.01)"}
    return RunConfig.checked({"model": spec, **shapes, **values})


def made(kind: str, preset: Path, options: str = "", seed: int = 3) -> tuple[keras.Model, Pretrained]:
    settings = config(kind, preset, options)
    model = build_model(settings.model, settings.vocab.size, STEPS, seed)
    part = pretrained_part(model)
    assert part is not None
    return model, part


def rows(model: keras.Model, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, model.output_shape[-1], (2, STEPS)).astype(np.int32)


def own_logits(part: Pretrained, task: keras.Model, ids: np.ndarray) -> np.ndarray:
    """KerasHub's own logits (batch, steps, preset's tokens) of our ids, written out."""
    order = np.array(part.order)
    inputs = {"token_ids": np.where(order < 0, order[2], order)[ids], "padding_mask": np.ones_like(ids)}
    if "mask_positions" in task.input:
        places = np.tile(np.arange(STEPS, dtype=np.int32), (len(ids), 1))
        inputs |= {"segment_ids": np.zeros_like(ids), "mask_positions": places}
    return np.asarray(task(inputs, training=False))


def randomise(part: Pretrained) -> None:
    rng = np.random.default_rng(5)
    for adapter in part.adapters:
        adapter.a.assign(rng.normal(0, 0.3, adapter.a.shape))
        adapter.b.assign(rng.normal(0, 0.3, adapter.b.shape))


@pytest.mark.parametrize(("kind", "preset"), [("gpt2", "gpt2"), ("gpt2", "first"), ("bert", "bert")])
def test_an_untrained_adapter_is_the_frozen_model(kind: str, preset: str, presets: dict[str, Path]) -> None:
    model, part = made(kind, presets[preset], f", targets={' '.join(TARGETS)!r}")
    frozen, plain = made(kind, presets[preset], ", lora_rank=0")
    ids = rows(model)
    found, own = np.asarray(model(ids)), own_logits(plain, plain.task, ids)
    order = np.array(part.order)
    np.testing.assert_array_equal(found[..., order >= 0], own[..., order[order >= 0]])
    np.testing.assert_array_equal(found, frozen(ids))
    shares = np.exp(found - np.log(np.exp(found).sum(-1, keepdims=True)))
    assert shares[..., order < 0].max(initial=0) < 1e-15  # specials that the preset lacks take nothing from the others


@pytest.mark.parametrize("kind", KINDS)
def test_merged_adapters_are_the_adapted_model(kind: str, presets: dict[str, Path], tmp_path: Path) -> None:
    model, part = made(kind, presets[kind], f", targets={' '.join(TARGETS)!r}, lora_rank=3")
    randomise(part)
    frozen = [v.numpy() for v in part.task.variables]
    ids, order = rows(model), np.array(part.order)
    save_model(model, tmp_path / "m.keras")
    for before, variable in zip(frozen, part.task.variables, strict=True):
        np.testing.assert_array_equal(before, variable)
    opened = keras.saving.load_model(tmp_path / "m.keras")
    own, found = own_logits(part, opened, ids), np.asarray(model(ids))[..., order >= 0]
    np.testing.assert_allclose(own[..., order[order >= 0]], found, atol=1e-5)
    assert np.abs(found - own_logits(part, part.task, ids)[..., order[order >= 0]]).max() > 1e-3
    assert opened.preprocessor.tokenizer.vocabulary_size() == (order >= 0).sum()  # it takes text


def test_adapters_by_hand(presets: dict[str, Path]) -> None:
    """W + alpha / rank A B, each kernel as the matrix from all inputs to all outputs."""
    _, part = made("gpt2", presets["gpt2"], f", targets={' '.join(TARGETS)!r}, lora_rank=2, lora_alpha=6.0")
    randomise(part)
    shapes = [(WIDTH, WIDTH)] * 4 + [(WIDTH, FEEDFORWARD), (FEEDFORWARD, WIDTH)]
    assert [(a.a.shape[0], a.b.shape[1]) for a in part.adapters] == shapes
    for adapter, (ins, outs) in zip(part.adapters, shapes, strict=True):
        matrix = np.asarray(adapter.kernel).reshape(ins, outs) + 3.0 * np.asarray(adapter.a) @ np.asarray(adapter.b)
        np.testing.assert_allclose(np.asarray(adapter.merged()).reshape(ins, outs), matrix, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "options"), [("gpt2", ""), ("gpt2", ", lora_rank=0"), ("bert", ""), ("bert", ", lora_rank=0")]
)
def test_gradients_are_slopes(kind: str, options: str, presets: dict[str, Path]) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        model, part = made(kind, presets[kind], options)
        randomise(part)
        rng, variables = np.random.default_rng(0), model.trainable_variables
        values = [v.numpy() + rng.normal(0, 0.1, v.shape) for v in variables]
        direction = [rng.normal(size=v.shape) for v in values]
        mix = rng.normal(size=(2, STEPS, model.output_shape[-1]))

        def loss(shift: float) -> tf.Tensor:
            for variable, value, way in zip(variables, values, direction, strict=True):
                variable.assign(value + shift * way)
            return tf.reduce_sum(tf.cast(model(rows(model), training=False), tf.float64) * mix)

        with tf.GradientTape() as tape:
            at = loss(0.0)
        found = tape.gradient(at, [v.value for v in variables])
        slope = sum(np.sum(tf.convert_to_tensor(g).numpy() * d) for g, d in zip(found, direction, strict=True))
        np.testing.assert_allclose(slope, (loss(1e-5) - loss(-1e-5)) / 2e-5, rtol=1e-4)
    finally:
        keras.config.set_dtype_policy(before)


def test_no_output_of_gpt2_depends_on_a_later_input(presets: dict[str, Path]) -> None:
    model, part = made("gpt2", presets["gpt2"])
    randomise(part)
    run = tf.function(lambda ids: model(ids, training=False))

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, STEPS - 1), st.integers(0, 10**6))
    def holds(place: int, seed: int) -> None:
        ids = rows(model, seed)
        changed = ids.copy()
        changed[:, place + 1 :] = rows(model, seed + 1)[:, place + 1 :]
        np.testing.assert_array_equal(run(ids)[:, : place + 1], run(changed)[:, : place + 1])

    holds()


def test_the_cache_agrees_with_the_whole_model(presets: dict[str, Path]) -> None:
    model, part = made("gpt2", presets["gpt2"])
    randomise(part)
    ids = rows(model)[:1]
    whole, steps = model(ids)[0].numpy(), steps_of(model, "gpt2")
    assert isinstance(steps, PretrainedSteps)
    reader = Reader(steps)
    for place in range(STEPS):
        np.testing.assert_allclose(reader.logits(ids[0, : place + 1].tolist()), whole[place], atol=1e-5)
    assert steps.count == STEPS


def test_adapters_learn_a_planted_sequence(presets: dict[str, Path]) -> None:
    text, options = "zyxwv" * 40, f", lora_alpha=32.0, dropout=0.0, targets={' '.join(TARGETS)!r}"
    values = {"local_epochs": 40, "batch_size": 8}
    trainer = LocalTrainer(config("gpt2", presets["gpt2"], options, **values))
    start = trainer.weights
    frozen = [v.numpy() for v in trainer.model.non_trainable_variables if "seed" not in v.path]
    trainer.train(start, [text], np.random.default_rng(0))
    figures = trainer.evaluate(None, [text])
    assert figures.tokens == trainer.num_tokens([text])
    assert figures.tokens == len(text) + 1  # each letter is a token
    assert (figures.correct + 1) / figures.tokens > 0.99  # the end itself cannot be foreseen
    trainer.train(start, ["another client", "with rows of other lengths " * 3], np.random.default_rng(1))
    assert trainer.traces == 1
    kept = [v for v in trainer.model.non_trainable_variables if "seed" not in v.path]
    for before, variable in zip(frozen, kept, strict=True):
        np.testing.assert_array_equal(before, variable)


def test_only_adapters_are_sent_and_gpt2_small_sends_under_one_per_cent(presets: dict[str, Path]) -> None:
    def trained(options: str) -> int:
        return sum(v.numpy().size for v in made("gpt2", presets["gpt2"], options)[0].trainable_variables)

    def count(layers: int, width: int, rank: int) -> int:  # query and value, A and B
        return layers * 2 * 2 * width * rank

    assert trained(", lora_rank=5") == count(1, WIDTH, 5)
    assert trained(", lora_rank=5, train_a=False") == count(1, WIDTH, 5) // 2
    small = count(12, 768, 8)
    down, up = 4 * small, 8 * small  # float32 weights, int64 sums
    assert small == 294_912 and (down + up) / (4 * 124_439_808) < 0.01


def test_a_preset_without_a_head_trains_one(presets: dict[str, Path]) -> None:
    names = {v.path.split("/")[-2] for v in made("bert", presets["headless"])[0].trainable_variables}
    assert {"mlm_head", "intermediate_dense", "intermediate_layer_norm"} < names
    assert all("_kernel" in v.name for v in made("bert", presets["bert"])[0].trainable_variables)


def test_dropout_is_seeded_and_off_in_evaluation(presets: dict[str, Path]) -> None:
    trainer = LocalTrainer(config("gpt2", presets["gpt2"], ", dropout=0.3"))
    start = trainer.weights

    def update(seed: int) -> list[bytes]:
        return [u.tobytes() for u in trainer.train(start, ["hi"], np.random.default_rng(seed))[0]]

    first = update(1)
    assert update(2) != first == update(1)
    assert trainer.evaluate(start, ["hello"]) == trainer.evaluate(start, ["hello"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (", lora_rank=-1", "lora_rank=-1"),
        (", lora_alpha=0.0", "lora_alpha=0.0"),
        (", targets='query vlaue'", "to name some of: query key value attention_output"),
        (", targets=''", "to name some of"),
        (", dropout=1.0", "dropout=1.0"),
    ],
)
def test_values_out_of_range(options: str, says: str, presets: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=says):
        made("gpt2", presets["gpt2"], options)


def test_rows_fit_the_positions(presets: dict[str, Path]) -> None:
    longest = config("gpt2", presets["gpt2"], seq_len=POSITIONS)
    assert build_model(longest.model, longest.vocab.size, POSITIONS).output_shape[1] == POSITIONS
    with pytest.raises(ConfigError, match=f"seq_len={POSITIONS + 1} is longer than the {POSITIONS} positions"):
        build_model(longest.model, longest.vocab.size, POSITIONS + 1)
    with pytest.raises(ConfigError, match="seq_len=2"):
        build_model(f"bert(preset={str(presets['bert'])!r})", 5, 2)


def test_adapter_names_are_kernels(presets: dict[str, Path]) -> None:
    """So that l1 and l2 reach them."""
    _, part = made("gpt2", presets["gpt2"])
    assert all(isinstance(a, Adapter) and a.a.name.endswith("kernel") for a in part.adapters)
