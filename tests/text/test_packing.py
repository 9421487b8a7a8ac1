"""Evaluation of many clients at once: each has the same figures as when it is evaluated by itself."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlm.text.packing import PACK, sums_by_owner
from fedlm.training.trainer import LocalTrainer
from fedlm.types import Ids, TextMetrics


def score(inputs: Ids, targets: Ids) -> tuple[Any, Any]:
    assert inputs.shape == targets.shape == (4, 3)
    counts = np.stack([inputs.sum(1), (targets > 0).sum(1), targets.sum(1)], axis=1).astype(np.int64)
    return (targets.sum(1) / np.float32(8)).astype(np.float32), counts


@given(st.lists(st.integers(0, 11), max_size=12))
@settings(max_examples=60, deadline=None)
def test_rows_come_back_to_their_owner(sizes: list[int]) -> None:
    owners = [(np.full((n, 3), k + 1, np.int32), np.full((n, 3), k + 2, np.int32)) for k, n in enumerate(sizes)]
    found = sums_by_owner(iter(owners), score, 4)
    assert found == [
        TextMetrics(n * 3 * (k + 2) / 8, n * 3 * (k + 1), n * 3, n * 3 * (k + 2)) for k, n in enumerate(sizes)
    ]


@pytest.mark.parametrize("model", ["lstm(units=33,embedding=5)", "gru(units=24)"])
def test_a_pack_has_the_same_bits_wherever_it_is_evaluated(model: str, tiny_config: Any) -> None:
    trainer = LocalTrainer(tiny_config(model=model))
    weights = tuple(w * 3 for w in trainer.weights)
    shards = [["abc " * (3 * k), "x"] for k in range(PACK - 1)] + [[], ["long text " * 400], ["end"]]
    together = trainer.evaluate_each(weights, iter(shards))
    assert together == trainer.evaluate_each(weights, shards[:PACK]) + trainer.evaluate_each(None, shards[PACK:])
    assert together[PACK - 1] == TextMetrics() and together[PACK].tokens == 4001
    assert trainer.evaluate_each(weights, []) == []
    alone = [trainer.evaluate(weights, documents) for documents in shards]
    assert [(m.tokens, m.characters) for m in alone] == [(m.tokens, m.characters) for m in together]
    np.testing.assert_allclose([m.loss_sum for m in alone], [m.loss_sum for m in together], rtol=1e-6)
