import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm.errors import ConfigError
from fedlm.scrub.kinds import Kind
from fedlm.text.registry import vocabulary
from fedlm.text.rows import windows
from fedlm.text.vocabulary import CHARACTERS, END, PAD, SPECIALS, START, UNKNOWN


def test_sizes_of_the_literature() -> None:
    assert len(CHARACTERS) == len(set(CHARACTERS)) == 86
    assert [vocabulary(v).size for v in ("chars", "chars(placeholders=0)", "bytes")] == [128, 90, 260]


@given(st.text(alphabet=CHARACTERS + Kind.PERSON.placeholder + Kind.MEDICAL_ID.placeholder))
def test_chars_round_trip(text: str) -> None:
    vocab = vocabulary("chars")
    assert vocab.decode(vocab.encode(text)) == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_bytes_round_trip_and_count_characters(text: str) -> None:
    vocab = vocabulary("bytes")
    ids = vocab.encode(text)
    assert vocab.decode(ids) == text
    assert vocab.characters[ids].sum() == len(text)
    assert vocab.characters[:SPECIALS].tolist() == [
        0,
        0,
        1,
        1,
    ]  # the end of a document and an unknown symbol are one each


def test_other_characters_are_unknown() -> None:
    assert vocabulary("chars").encode("é\U0001f600\uf8ff").tolist() == [UNKNOWN] * 3


def test_windows_by_hand() -> None:
    vocab = vocabulary("chars")
    a, b, c = vocab.encode("abc").tolist()
    inputs, targets = windows(["abcab", "c"], vocab, 4)
    assert inputs.tolist() == [[START, a, b, c], [a, b, PAD, PAD], [START, c, PAD, PAD]]
    assert targets.tolist() == [[a, b, c, a], [b, END, PAD, PAD], [c, END, PAD, PAD]]


@given(st.lists(st.text(alphabet="abc", max_size=9), max_size=5), st.integers(1, 7))
def test_every_symbol_is_a_target_once(documents: list[str], seq_len: int) -> None:
    inputs, targets = windows(documents, vocabulary("chars"), seq_len)
    assert inputs.shape == targets.shape and inputs.dtype == np.int32
    assert np.count_nonzero(targets) == sum(len(d) + 1 for d in documents)


@pytest.mark.parametrize("spec", ["words", "chars(placeholders=39)", "chars(size=3)", "bytes(x=1)", "ch ars"])
def test_unknown_vocabulary(spec: str) -> None:
    with pytest.raises(ConfigError):
        vocabulary(spec)
