"""Seeded streams: their names never meet, and they begin again where they began."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm.rng import Purpose, Stream, stream

WORD = st.integers(0, 2**64 - 1)
STREAMS = st.builds(Stream, WORD, st.sampled_from(Purpose), WORD, WORD)


def first(which: Stream) -> bytes:
    return which.generator().bytes(16)


@given(STREAMS, STREAMS)
def test_streams_of_different_names_differ(one: Stream, other: Stream) -> None:
    assert (first(one) == first(other)) == (one == other) == (one.read(16) == other.read(16))


def test_names_that_a_list_of_numbers_could_not_tell_apart_differ() -> None:
    """`default_rng([7, 1])` and `default_rng([7, 1, 0, 0])` are one stream."""
    assert np.random.default_rng([7, 1]).random() == np.random.default_rng([7, 1, 0, 0]).random()
    low, high = Stream(7, Purpose.TRAINING, 1), Stream(7 + 2**32, Purpose.TRAINING, 1)
    names = [low, high, Stream(7, Purpose.TRAINING, 0, 1), Stream(7, Purpose.TRAINING), Stream(1, Purpose.TRAINING, 7)]
    assert len({first(n) for n in names}) == len(names)


def test_each_purpose_has_a_number_of_its_own() -> None:
    assert len({p.value for p in Purpose}) == len(Purpose.__members__)  # an alias would be a second name of a stream


def test_a_stream_begins_again_and_reads_on() -> None:
    which = Stream(2**64 - 1, Purpose.NODE_NOISE, 3, 2**63)
    assert first(which) == first(which) and stream(5, Purpose.SAMPLE).random() == stream(5, Purpose.SAMPLE).random()
    assert which.read(4) + which.read(6, 4) == which.read(10)
    assert which.read(0) == b""


@pytest.mark.parametrize("numbers", [(-1, 0, 0), (2**64, 0, 0), (0, -1, 0), (0, 0, 2**64)])
def test_numbers_out_of_range_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"from 0 to 2\*\*64 - 1"):
        Stream(numbers[0], Purpose.SAMPLE, numbers[1], numbers[2])
