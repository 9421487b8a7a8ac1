"""A client's compiled program: blocks change nothing, each client begins anew, the loss is the loss."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlm.layers import dense, device, fused
from fedlm.layers.loss import cross_entropy, is_first_guess
from fedlm.training import blocks
from fedlm.training.trainer import LocalTrainer

pytestmark = pytest.mark.slow
TEXT = ["to be or not to be", "that is the question", "whether tis nobler", "in the mind"] * 3


def trained(trainer: LocalTrainer, documents: list[str], seed: int = 1) -> tuple[list[bytes], Any]:
    update, figures = trainer.train(start_of(trainer), documents, np.random.default_rng(seed))
    return [u.tobytes() for u in update], figures


def start_of(trainer: LocalTrainer) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(7)
    return tuple(rng.normal(0, 0.1, w.shape).astype(np.float32) for w in trainer.weights)


@pytest.mark.parametrize("optimizer", ["sgd(momentum=0.9)", "adam(learning_rate=0.01)", "adagrad"])
def test_blocks_change_nothing(tiny_config: Any, monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    config = tiny_config(model="lstm(units=8, layers=1, dropout=0.2)", client_optimizer=optimizer)
    found = []
    for block in (1, 3, 64):  # programs of their own, whose last bits differ
        monkeypatch.setattr(blocks, "BLOCK", block)
        trainer = LocalTrainer(config)
        found.append(trainer.train(start_of(trainer), TEXT, np.random.default_rng(1)))
    for update, figures in found[1:]:
        for ours, first in zip(update, found[0][0], strict=True):
            np.testing.assert_allclose(ours, first, rtol=1e-3, atol=1e-5)
        assert figures.tokens == found[0][1].tokens
        assert figures.loss_sum == pytest.approx(found[0][1].loss_sum, rel=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd(momentum=0.9)", "adam", "adagrad"])
def test_a_client_begins_anew_whoever_was_before(tiny_config: Any, optimizer: str) -> None:
    config = tiny_config(model="lstm(units=8, layers=1)", client_optimizer=optimizer, proximal_mu=0.1)
    first, second = LocalTrainer(config), LocalTrainer(config)
    alone = trained(first, TEXT)
    trained(second, ["something else"] * 40, seed=2)
    assert trained(second, TEXT) == alone
    assert second.traces == 1


@pytest.mark.parametrize("model", ["lstm(units=8, layers=1)", "transformer(width=8, layers=1, heads=2)"])
def test_a_gpus_graphs_compute_the_same(tiny_config: Any, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    """On a GPU neither XLA nor the fused layers serve; their graphs run on a CPU too."""
    config = tiny_config(model=model, client_optimizer="sgd(momentum=0.9)")
    found = []
    for is_cpu in (True, False):
        for module in (device, fused, dense):
            monkeypatch.setattr(module, "on_cpu", lambda is_cpu=is_cpu: is_cpu)
        trainer = LocalTrainer(config)
        update, figures = trainer.train(start_of(trainer), TEXT, np.random.default_rng(1))
        found.append((update, figures, trainer.evaluate(None, TEXT)))
    for ours, other in zip(found[0][0], found[1][0], strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-3, atol=1e-5)
    for place in (1, 2):
        assert found[0][place].loss_sum == pytest.approx(found[1][place].loss_sum, rel=1e-4)


def test_a_client_without_text_does_not_move(tiny_config: Any) -> None:
    trainer = LocalTrainer(tiny_config(model="rnn(units=4, layers=1)"))
    update, figures = trainer.train(start_of(trainer), [], np.random.default_rng(0))
    assert not any(u.any() for u in update) and figures.tokens == 0


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 30.0, 1e4]))
def test_cross_entropy_is_tensorflows(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    logits = tf.Variable(rng.normal(0, size, (2, 3, 7)).astype(np.float32))
    targets = tf.constant(rng.integers(0, 7, (2, 3)), tf.int32)
    scale = tf.constant(rng.normal(size=(2, 3)), tf.float32)
    found = []
    for loss in (cross_entropy, lambda x, t: tf.nn.sparse_softmax_cross_entropy_with_logits(t, x)):
        with tf.GradientTape() as tape:
            losses = loss(logits, targets)
            total = tf.reduce_sum(losses * scale)
        found.append((losses.numpy(), tape.gradient(total, logits).numpy()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-4, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=6), st.data())
def test_first_guess_is_the_argmax_with_ties(row: list[float], data: st.DataObject) -> None:
    target = data.draw(st.integers(0, len(row) - 1))
    logits, targets = tf.constant([[row]]), tf.constant([[target]], tf.int32)
    assert bool(is_first_guess(logits, targets)[0, 0]) == (int(np.argmax(row)) == target)


@pytest.mark.parametrize("row", [[np.nan, 0.0], [0.0, np.nan], [np.nan, np.nan]])
def test_a_model_that_diverged_has_no_loss_and_guesses_nothing(row: list[float]) -> None:
    logits = tf.constant([[row]], tf.float32)
    for target in (0, 1):
        targets = tf.constant([[target]], tf.int32)
        assert np.isnan(cross_entropy(logits, targets).numpy()).all()
        assert not is_first_guess(logits, targets).numpy().any()
