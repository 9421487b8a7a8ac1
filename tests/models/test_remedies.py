"""Remedies against overfitting and client optimizers: equations by hand, and nothing changes when they are off."""

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fedlm.text.rows import windows
from fedlm.training.trainer import LocalTrainer
from fedlm.types import Ids, TextMetrics, Weights

pytestmark = pytest.mark.slow
TEXT = ["hello there, world"]
TINY = {"model": "lstm(units=6, layers=1)", "batch_size": 4, "client_optimizer": "sgd(learning_rate=0.5)"}

KEPT: list[LocalTrainer] = []


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def update(config: Any, documents: list[str] = TEXT, **values: Any) -> tuple[LocalTrainer, Weights]:
    """Trains from the initial weights; a trainer whose graphs fit is taken over, as in a worker that is kept."""
    trainer = next((t for t in KEPT if t.take_over(config)), None)
    if trainer is None:
        KEPT.append(trainer := LocalTrainer(config))
    return trainer, trainer.train(trainer.weights, documents, rng(), **values)[0]


def same(first: Weights, second: Weights) -> bool:
    return [a.tobytes() for a in first] == [b.tobytes() for b in second]


def test_zero_is_none(tiny_config: Any) -> None:
    off = {"l1": 0.0, "l2": 0.0, "label_smoothing": 0.0, "proximal_mu": 0.0, "client_schedule": "constant"}
    assert same(update(tiny_config(**TINY))[1], update(tiny_config(**TINY, **off))[1])


@pytest.mark.parametrize(("key", "slope"), [("l2", lambda w: 2 * w), ("l1", np.sign)])
def test_penalties_pull_kernels_only(key: str, slope: Any, tiny_config: Any) -> None:
    trainer, plain = update(tiny_config(**TINY))
    _, pulled = update(tiny_config(**TINY, **{key: 0.01}))
    for variable, start, a, b in zip(trainer.model.trainable_variables, start_of(trainer), plain, pulled, strict=True):
        pull = -0.5 * 0.01 * slope(start) if variable.name.endswith("kernel") else np.zeros_like(start)
        np.testing.assert_allclose(b - a, pull, atol=1e-6)


def start_of(trainer: LocalTrainer) -> Weights:
    return LocalTrainer(trainer.config).weights


def gradient(trainer: LocalTrainer, weights: Weights, smoothing: float = 0.0) -> Weights:
    """The gradient of the loss sum over the one batch of TEXT, divided by its size with padding (4 rows)."""
    trainer.assign(weights)
    inputs, targets = windows(TEXT, trainer.vocab, trainer.config.seq_len)
    with tf.GradientTape() as tape:
        logs = tf.nn.log_softmax(trainer.model(inputs, training=True))
        aims = (1 - smoothing) * tf.one_hot(targets, trainer.vocab.size) + smoothing / trainer.vocab.size
        loss = -tf.reduce_sum(aims * logs * tf.cast(targets > 0, tf.float32)[..., None]) / (4 * trainer.config.seq_len)
    found = tape.gradient(loss, [v.value for v in trainer.model.trainable_variables])
    return tuple(tf.convert_to_tensor(g).numpy() for g in found)


def test_label_smoothing_is_a_mix_with_the_uniform_distribution(tiny_config: Any) -> None:
    trainer, found = update(tiny_config(**TINY, label_smoothing=0.3))
    for u, g in zip(found, gradient(trainer, start_of(trainer), 0.3), strict=True):
        np.testing.assert_allclose(u, -0.5 * g, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd(momentum=0.9)", "adam(learning_rate=0.01)", "adagrad(learning_rate=0.1)"])
def test_optimizers_by_hand_with_a_fresh_state_per_client(optimizer: str, tiny_config: Any) -> None:
    config = tiny_config(**{**TINY, "client_optimizer": optimizer, "local_epochs": 2})
    trainer, found = update(config)
    start = start_of(trainer)
    assert same(found, trainer.train(start, TEXT, rng())[0])  # nothing is left of the first client
    weights = [w.astype(np.float64) for w in start]
    one, two = ([np.zeros_like(w) for w in weights] for _ in range(2))
    for step in (1, 2):
        for place, g in enumerate(gradient(trainer, tuple(w.astype(np.float32) for w in weights))):
            if optimizer.startswith("sgd"):
                one[place] = 0.9 * one[place] + g
                weights[place] -= one[place]
            elif optimizer.startswith("adagrad"):
                one[place] += g * g
                weights[place] -= 0.1 * g / (np.sqrt(0.1 + one[place]) + 1e-7)
            else:
                one[place] = 0.9 * one[place] + 0.1 * g
                two[place] = 0.999 * two[place] + 0.001 * g * g
                mean, square = one[place] / (1 - 0.9**step), two[place] / (1 - 0.999**step)
                weights[place] -= 0.01 * mean / (np.sqrt(square) + 1e-8)
    for u, w, s in zip(found, weights, start, strict=True):
        big = np.abs(w - s) > 1e-4  # Adam's first step is a sign: tiny gradients may go either way
        np.testing.assert_allclose(u[big], (w - s)[big], rtol=0.02, atol=2e-4)


def test_clipped_gradients_are_as_long_as_the_bound(tiny_config: Any) -> None:
    clipped = tiny_config(**{**TINY, "client_optimizer": "sgd(learning_rate=0.5, clip_norm=0.01)"})
    free, held = update(tiny_config(**TINY))[1], update(clipped)[1]
    assert distance(free) > 0.5 * 0.01 and distance(held) == pytest.approx(0.5 * 0.01, rel=1e-4)
    for a, b in zip(free, held, strict=True):  # one step: shorter, not turned
        np.testing.assert_allclose(b, a * (0.005 / distance(free)), atol=1e-6)


def test_schedule_scales_the_rate(tiny_config: Any) -> None:
    scheduled = tiny_config(**TINY, client_schedule="step(every=1, factor=0.5)")
    slow = tiny_config(**{**TINY, "client_optimizer": "sgd(learning_rate=0.125)"})
    assert same(update(scheduled, server_round=3)[1], update(slow)[1])


def test_proximal_term_pulls_towards_the_global_weights(tiny_config: Any) -> None:
    epochs = {**TINY, "local_epochs": 4}
    free, held = update(tiny_config(**epochs))[1], update(tiny_config(**epochs), proximal_mu=1.0)[1]
    assert same(held, update(tiny_config(**epochs, proximal_mu=1.0))[1])
    assert distance(held) < distance(free)
    one = {**TINY, "local_epochs": 1}  # the first step starts at the global weights: nothing pulls yet
    first = zip(update(tiny_config(**one))[1], update(tiny_config(**one, proximal_mu=1.0))[1], strict=True)
    assert all(np.allclose(a, b, atol=1e-7) for a, b in first)


def distance(values: Weights) -> float:
    return math.sqrt(sum(float(np.sum(v * v)) for v in values))


def test_a_client_stops_at_its_own_best_epoch(tiny_config: Any) -> None:
    text = [*["aaaa bbbb aaaa bbbb"] * 4, "zq xj kw vy zq xj kw"]  # the last rows are unlike the rest: more epochs hurt
    patient = {**TINY, "local_epochs": 12, "client_patience": 2, "client_holdout": 0.2}
    trainer = LocalTrainer(tiny_config(**patient))
    start = trainer.weights
    inputs, targets = windows(text, trainer.vocab, trainer.config.seq_len)
    kept = len(inputs) - int(0.2 * len(inputs))
    losses, epoch = [], trainer._evaluated

    def noted(owners: list[tuple[Ids, Ids]]) -> list[TextMetrics]:
        found = epoch(owners)
        losses.append(found[0].loss_sum)
        return found

    trainer._evaluated = noted  # type: ignore[method-assign]
    stopped, _ = trainer.train(start, text, rng())
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 2 < 12  # two epochs without a gain, then it stops
    trainer.assign(tuple(s + u for s, u in zip(start, stopped, strict=True)))
    np.testing.assert_allclose(epoch([(inputs[kept:], targets[kept:])])[0].loss_sum, min(losses), rtol=1e-6)
    assert trainer.traces == 1
