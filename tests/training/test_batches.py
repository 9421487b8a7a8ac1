"""Rows and batches of text: how many targets there are, and which rows a batch has."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.training.batches import Batching

DOCUMENTS = st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60), max_size=5)


def batching(**values: object) -> Batching:
    config = RunConfig.checked({"seq_len": 7, "batch_size": 2, **values})
    return Batching(config, config.vocab, is_masked=False)


@pytest.mark.parametrize("vocabulary", ["chars", "bytes"])
@given(documents=DOCUMENTS)
def test_targets_are_a_documents_symbols_and_its_end(vocabulary: str, documents: list[str]) -> None:
    vocab = RunConfig.checked({"vocabulary": vocabulary}).vocab
    client = batching(vocabulary=vocabulary).prepare(documents)
    assert client.num_tokens == sum(len(vocab.encode(d)) + 1 for d in documents)
    assert client.inputs.shape == client.targets.shape and client.inputs.shape[1] == 7


@given(documents=DOCUMENTS, epochs=st.integers(1, 3), seed=st.integers(0, 99))
def test_an_epoch_has_every_row_once_in_batches_of_its_own(documents: list[str], epochs: int, seed: int) -> None:
    made, rng = batching(local_epochs=epochs), np.random.default_rng(seed)
    client = made.prepare(documents)
    count = len(client.inputs)
    inputs, targets = made.batches(client.inputs, client.targets, made.orders(count, rng), rng)
    assert inputs.shape == targets.shape == (epochs * -(-count // 2), 2, 7)
    expected = sorted(np.hstack([client.inputs, client.targets]).tolist())
    for epoch in np.split(np.concatenate([inputs, targets], axis=-1), epochs):
        rows = epoch.reshape(-1, 14)
        assert sorted(rows[:count].tolist()) == expected and not rows[count:].any()


@given(documents=DOCUMENTS, steps=st.integers(1, 9), seed=st.integers(0, 99))
def test_fixed_steps_are_full_batches_that_use_every_row_as_often(documents: list[str], steps: int, seed: int) -> None:
    made, rng = batching(local_steps=steps), np.random.default_rng(seed)
    client = made.prepare(documents)
    rows = len(client.inputs)
    (order,) = made.orders(rows, rng)
    assert len(order) == (2 * steps if rows else 0)
    if rows:
        times = np.bincount(order, minlength=rows)
        assert times.max() - times.min() <= 1
        inputs, _ = made.batches(client.inputs, client.targets, [order], rng)
        assert inputs.shape == (steps, 2, 7) and inputs.any(axis=-1).all()
    # Local-only and centralised references make whole passes.
    assert [len(o) for o in made.orders(rows, rng, bounded=False)] == [rows]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"local_epochs": 2}, "set local_epochs=1"),
        ({"client_patience": 1}, "set client_patience=0"),
        ({"max_client_tokens": 41}, "set max_client_tokens=42"),
        ({"local_steps": -1}, "local_steps"),
        ({"local_steps": 10**6}, "local_steps"),
    ],
)
def test_settings_that_contradict_fixed_steps_are_refused(values: dict[str, int], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        batching(**{"local_steps": 3, **values})
    assert batching(local_steps=3, max_client_tokens=42).most_rows == 6


def test_a_prepared_client_shows_no_text() -> None:
    client = batching().prepare(["a secret"])
    assert repr(client) == "PreparedClient(num_tokens=9)"


def test_masked_prediction_needs_a_vocabulary_with_a_mask() -> None:
    config = RunConfig.checked({"seq_len": 7})
    with pytest.raises(ConfigError, match="needs the vocabulary of a preset, not 'chars'"):
        Batching(config, config.vocab, is_masked=True).prepare(["text"])
