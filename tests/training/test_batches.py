"""Rows and batches of text: how many targets there are, and that rows are kept for one training only."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm.config import RunConfig
from fedlm.training.batches import Batching

DOCUMENTS = st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60), max_size=5)


@pytest.mark.parametrize("vocabulary", ["chars", "bytes"])
@given(documents=DOCUMENTS)
def test_targets_are_a_documents_symbols_and_its_end(vocabulary: str, documents: list[str]) -> None:
    config = RunConfig.checked({"vocabulary": vocabulary, "seq_len": 7})
    batching = Batching(config, config.vocab, is_masked=False)
    assert batching.num_tokens(documents) == sum(len(config.vocab.encode(d)) + 1 for d in documents)


def test_a_weighed_clients_rows_serve_its_training_and_nobody_elses() -> None:
    config = RunConfig.checked({"seq_len": 7})
    batching = Batching(config, config.vocab, is_masked=False)
    one, other = ["how are you?"], ["and you?", "x"]
    expected = [Batching(config, config.vocab, is_masked=False).rows(d) for d in (one, other, one)]
    batching.num_tokens(one)
    found = [batching.rows(d) for d in (one, other, one)]
    for pair, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(pair, right)
    batching.num_tokens(one)
    np.testing.assert_array_equal(batching.rows(other), expected[1])
    assert batching._weighed is None
