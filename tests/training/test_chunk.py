"""A chunk in one program has the bits of its clients one by one, whatever their sizes."""

import gc
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlm.aggregation.exact import SCALE, ExactSum
from fedlm.config import RunConfig
from fedlm.layers import dense, device, fused
from fedlm.rng import Purpose, Stream
from fedlm.spec import Spec
from fedlm.training.blocks import BLOCK
from fedlm.training.chunk import Shard, _blocks, client_weight, train_chunk
from fedlm.training.trainer import LocalTrainer
from fedlm.types import TextMetrics, Weights

pytestmark = pytest.mark.slow
LINE = "to be or not to be, that is the question"
KEPT: list[LocalTrainer] = []
SIZES = [1, 0, 40, 3, 0, 0, 9, 1, 25]  # documents of a client; most end within a block of the program, two go beyond


def shards(trainer: LocalTrainer, sizes: Sequence[int] = SIZES) -> list[Shard]:
    return [
        Shard(trainer.prepare([LINE[c:]] * size), Stream(7, Purpose.TRAINING, 1, c), 100 * c)
        for c, size in enumerate(sizes)
    ]


def one_by_one(
    trainer: LocalTrainer, clients: list[Shard], cohort: int, start: Weights | None = None
) -> tuple[ExactSum, TextMetrics]:
    total, metrics = ExactSum.zeros_like(trainer.weights), TextMetrics()
    start = trainer.weights if start is None else start
    for shard in clients:
        update, figures = trainer.train(start, shard.client, shard.rng, 3)
        if total.add(update, shard.weight, cohort):
            metrics += figures
    return total, metrics


def assert_same(found: tuple[ExactSum, TextMetrics], expected: tuple[ExactSum, TextMetrics]) -> None:
    for ours, theirs in zip(found[0].sums, expected[0].sums, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for name in ("weight", "clients", "failed"):
        assert getattr(found[0], name) == getattr(expected[0], name)
    assert (found[1].tokens, found[1].correct) == (expected[1].tokens, expected[1].correct)
    assert found[1].loss_sum == pytest.approx(expected[1].loss_sum, rel=1e-12)


@pytest.mark.parametrize(
    "values",
    [
        {"model": "lstm(units=8, layers=1, dropout=0.3)", "local_epochs": 2},
        {"model": "gru(units=8, layers=1)", "client_optimizer": "adam(learning_rate=0.01)", "proximal_mu": 0.1},
        {"model": "rnn(units=8)", "client_optimizer": "sgd(momentum=0.9)", "client_schedule": "cosine(rounds=5)"},
    ],
)
def test_a_chunk_is_its_clients_one_by_one(tiny_config: Any, values: dict[str, Any]) -> None:
    trainer = LocalTrainer(tiny_config(**values))
    start = trainer.weights
    expected = one_by_one(trainer, shards(trainer), len(SIZES))
    trainer.assign(start)
    first = train_chunk(trainer, start, iter(shards(trainer)), len(SIZES), 3)
    assert_same(first, expected)
    other = train_chunk(trainer, start, iter(shards(trainer, [5, 5])), len(SIZES), 3)  # begins anew
    assert_same(first, expected)  # what was returned stays
    assert_same(other, one_by_one(trainer, shards(trainer, [5, 5]), len(SIZES), start))
    assert expected[0].clients == len(SIZES) and all(s.any() for s in first[0].sums)


def test_a_client_that_may_not_go_into_the_sum_is_left_out_alone(tiny_config: Any) -> None:
    """One diverges; of another limit even the small ones are too large; what the limit just allows is added."""
    trainer = LocalTrainer(tiny_config(model="rnn(units=4)", client_optimizer="sgd(learning_rate=1e30)"))
    start = trainer.weights
    expected = one_by_one(trainer, shards(trainer, [1, 40, 0, 2]), 4)
    assert expected[0].failed > 0 and expected[0].clients > 0
    assert_same(train_chunk(trainer, start, shards(trainer, [1, 40, 0, 2]), 4, 3), expected)
    trainer = LocalTrainer(tiny_config(model="rnn(units=4)"))
    start, clients = trainer.weights, shards(trainer, [1, 4, 6])
    found = set()
    for power in range(20, 62):
        expected = one_by_one(trainer, clients, 2**power)
        trainer.assign(start)
        assert_same(train_chunk(trainer, start, clients, 2**power, 3), expected)
        trainer.assign(start)
        found.add(expected[0].clients)
    assert {1, 3} <= found  # a weight of 0 adds nothing, and that always fits


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 45), max_size=40))
def test_blocks_hold_all_batches_of_all_clients_in_order(sizes: list[int]) -> None:
    """Pieces and batches of a block are at most BLOCK, even of many clients without text; the last piece has the scale."""
    trainer = KEPT[0] if KEPT else LocalTrainer(RunConfig.checked({"model": "rnn(units=2)", "seq_len": 5}))
    KEPT[:] = [trainer]
    clients = [
        Shard(trainer.prepare(["abcd"] * size), Stream(0, Purpose.TRAINING, 1, c), c + 1)
        for c, size in enumerate(sizes)
    ]
    blocks = list(_blocks(trainer, clients, 1.0))
    for block in blocks[:-1]:
        assert BLOCK in (len(block), sum(len(p.piece.inputs) for p in block))
    for block in blocks:
        assert 1 <= len(block) <= BLOCK and sum(len(p.piece.inputs) for p in block) <= BLOCK
    parts = [part for block in blocks for part in block]
    for client in clients:
        own = [p.piece for p in parts if p.shard is client]
        inputs, targets, _ = trainer.batches_of(client.client, client.rng)
        np.testing.assert_array_equal(np.concatenate([p.inputs for p in own]), inputs)
        np.testing.assert_array_equal(np.concatenate([p.targets for p in own]), targets)
        assert [p.begins for p in own] == [True] + [False] * (len(own) - 1)
        assert [p.scale for p in own] == [None] * (len(own) - 1) + [client.weight * SCALE]
    order = [p.shard.stream.client for p in parts]
    assert order == sorted(order)


def test_nothing_of_a_message_stays_in_the_trainer(tiny_config: Any) -> None:
    """Weights lie in shared memory that is to be released; a client's text is not to outlive its training."""
    trainer = LocalTrainer(tiny_config(model="rnn(units=4)"))
    weights, clients = trainer.weights, shards(trainer, [2, 1])
    held = [weakref.ref(x) for x in (*weights, *(s.client for s in clients), *(s.client.inputs for s in clients))]
    train_chunk(trainer, weights, clients, 2)
    trainer.train(weights, clients[0].client, clients[0].rng)
    trainer.evaluate(weights, ["to be"])
    del weights, clients
    gc.collect()
    assert [x() for x in held] == [None] * len(held)


def test_no_clients_and_a_stopped_client(tiny_config: Any) -> None:
    trainer = LocalTrainer(tiny_config(model="rnn(units=4)"))
    total, metrics = train_chunk(trainer, trainer.weights, [], 1)
    assert (total.clients, total.weight, metrics) == (0, 0, TextMetrics())
    assert not any(s.any() for s in total.sums)
    stops = LocalTrainer(tiny_config(model="rnn(units=4)", client_patience=1, local_epochs=3))
    start = stops.weights
    expected = one_by_one(stops, shards(stops), len(SIZES))
    stops.assign(start)
    assert_same(train_chunk(stops, start, shards(stops), len(SIZES), 3), expected)


def test_a_gpus_graph_computes_the_same(tiny_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU neither XLA nor the fused layers serve; the graph runs on a CPU too."""
    found = []
    for is_cpu in (True, False):
        for module in (device, fused, dense):
            monkeypatch.setattr(module, "on_cpu", lambda is_cpu=is_cpu: is_cpu)
        trainer = LocalTrainer(tiny_config(model="lstm(units=8, layers=1)"))
        found.append(train_chunk(trainer, trainer.weights, shards(trainer), len(SIZES)))
    for ours, other in zip(found[0][0].sums, found[1][0].sums, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-3, atol=1e-4 * np.abs(ours).max())
    assert found[0][0].weight == found[1][0].weight


def test_client_weight() -> None:
    rules = (Spec("tokens", {}), Spec("uniform", {}), Spec("capped", {"tokens": 100}))
    assert [client_weight(rule, 250) for rule in rules] == [250, 1, 100]
