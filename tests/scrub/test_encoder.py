"""The names model's network: the same function as the package's file, rounded, and blind to what shares a batch."""

import numpy as np
import pytest

from fedlm.data.synthetic import synthetic_messages
from fedlm.scrub.names import protobuf, tagger
from fedlm.scrub.names.encoder import RANGES, fused

TEXTS = [p.document.text for p in synthetic_messages(clients=6, messages=8, mail=0.5, seed=5)]


@pytest.mark.parametrize("values", [np.float32(1.5), np.arange(6, dtype=np.int8).reshape(2, 3), np.zeros(0, np.int64)])
def test_a_tensor_comes_back(values: np.ndarray) -> None:
    back = protobuf.array(protobuf.read(protobuf.tensor("name", np.asarray(values))))
    assert back.dtype == values.dtype and back.shape == values.shape and (back == values).all()


def test_the_packages_file_is_written_as_it_was_read() -> None:
    model = tagger.model_file()
    assert protobuf.write(protobuf.read(model)) == model


def test_a_tensor_of_numbers_of_variable_length() -> None:
    """As ONNX stores a lone 8-bit zero: 300 in two bytes, 5 in one."""
    fields = [(1, 2), (2, 6), (5, bytes([0b10101100, 0b10, 5]))]
    assert protobuf.array(fields).tolist() == [300, 5]


@pytest.mark.slow
def test_the_fused_network_is_the_packages_network() -> None:
    original = tagger.open_session(tagger.model_file())
    exact, rounded = tagger.open_session(fused(tagger.model_file(), None)), tagger.load_session()
    tokens = same = names = right = 0
    for text in TEXTS:
        for window in tagger.windows(tagger.load_tokenizer(), text, tagger.pieces(text)):
            feed, length = tagger.feed([window]), len(window.ids) + 2
            ids = feed["ids"][:, :length]
            ones = np.ones_like(ids)
            true = original.run(None, {"input_ids": ids, "attention_mask": ones, "token_type_ids": 0 * ids})[0][0]
            np.testing.assert_allclose(exact.run(None, feed)[0][0, :length], true, atol=1e-3)
            guess = rounded.run(None, feed)[0][0, :length].argmax(1)
            labels = true.argmax(1)
            tokens, same = tokens + length, same + int((guess == labels).sum())
            names, right = names + int((labels > 0).sum()), right + int((guess > 0)[labels > 0].sum())
    assert len(RANGES) == 24 and same >= 0.97 * tokens  # 0.976 to 0.992 on messages of other seeds
    assert names > 150 and right >= 0.97 * names


@pytest.mark.slow
def test_what_shares_a_batch_changes_no_bit() -> None:
    alone = [tagger.tag([text])[0].probabilities for text in TEXTS]
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(TEXTS))
        for place, tagged in zip(order, tagger.tag([TEXTS[i] for i in order]), strict=True):
            assert (tagged.probabilities == alone[place]).all()


@pytest.mark.slow
def test_texts_without_words_and_long_words_are_tagged() -> None:
    tagged = tagger.tag(["", " \n", "?!", "x" * 3000, "half a pair \ud800 here"])
    assert [len(t.words) for t in tagged] == [0, 0, 0, 1, 4]
    assert all(np.allclose(t.probabilities.sum(1), 1, atol=1e-4) for t in tagged)
