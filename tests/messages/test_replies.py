"""What a server accepts as a node's sum, and what a node's policy accepts as a request."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, RecordDict

from fedlm.aggregation.exact import ExactSum
from fedlm.messages import wire
from fedlm.messages.records import as_array
from fedlm.types import TextMetrics

pytestmark = pytest.mark.flower
WEIGHTS = (np.zeros((2, 3), np.float32), np.zeros(4, np.float32))


def reply() -> RecordDict:
    total = ExactSum.zeros_like(WEIGHTS, drift=True)
    total.add(tuple(np.ones_like(w) for w in WEIGHTS), 3, 2)
    return wire.sum_content(total, TextMetrics(1.5, 1, 3, 3))


@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_arrays_are_laid_out_as_flower_lays_them_out(shape: tuple[int, ...], dtype: type) -> None:
    values = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    for array in (values, np.array(values, order="F")):
        ours, theirs = as_array(array), Array(np.array(values, order="C"))
        assert (ours.dtype, ours.shape, ours.stype, ours.data) == (
            theirs.dtype,
            theirs.shape,
            theirs.stype,
            theirs.data,
        )


def not_a_number(content: RecordDict) -> None:
    content.metric_records["metrics"]["loss-sum"] = float("nan")


def floats(content: RecordDict) -> None:
    content["arrays"] = ArrayRecord({str(i): Array(np.full(w.shape, np.nan)) for i, w in enumerate(WEIGHTS)})


def other_shape(content: RecordDict) -> None:
    content.array_records["arrays"]["1"] = Array(np.zeros(5, np.int64))


def other_key(content: RecordDict) -> None:
    content["arrays"] = ArrayRecord({f"x{i}": Array(np.zeros(w.shape, np.int64)) for i, w in enumerate(WEIGHTS)})


def no_figures(content: RecordDict) -> None:
    del content["metrics"]


def negative_weight(content: RecordDict) -> None:
    content.metric_records["metrics"]["weight"] = -1


def too_many_clients(content: RecordDict) -> None:
    content.metric_records["metrics"]["clients"] = 9


def drift_of_too_many(content: RecordDict) -> None:
    content.metric_records["metrics"]["drift-clients"] = 2


def drift_longer_than_units(content: RecordDict) -> None:
    content["drift"] = ArrayRecord({str(i): Array(np.full(w.shape, 2**25)) for i, w in enumerate(WEIGHTS)})


def drift_without_figures(content: RecordDict) -> None:
    del content.metric_records["metrics"]["drift-norms"]


def cut_off(content: RecordDict) -> None:
    array = content.array_records["arrays"]["1"]
    content.array_records["arrays"]["1"] = Array("int64", (4,), array.stype, array.data[:-3])


def nonsense(content: RecordDict) -> None:
    content.array_records["arrays"]["1"] = Array("int64", (4,), "numpy.ndarray", b"\x93NUMPY\x01\x00\x05\x00{'a(\x00")


def of_another_type(content: RecordDict) -> None:
    content.array_records["arrays"]["1"] = Array("int64", (4,), "pickle", content.array_records["arrays"]["1"].data)


def objects(content: RecordDict) -> None:
    file = BytesIO()
    np.save(file, np.array([reply, None, None, None]), allow_pickle=True)
    content.array_records["arrays"]["1"] = Array("int64", (4,), "numpy.ndarray", file.getvalue())


DAMAGES = [
    cut_off,
    nonsense,
    of_another_type,
    objects,
    not_a_number,
    floats,
    other_shape,
    other_key,
    no_figures,
    negative_weight,
    too_many_clients,
]
DAMAGES += [drift_of_too_many, drift_longer_than_units, drift_without_figures]


def test_an_honest_reply_is_taken() -> None:
    total, metrics = wire.checked_sum(reply(), WEIGHTS, 2)
    assert total.drift is not None and total.drift.summary(total)["cosine"] == pytest.approx(1, abs=1e-6)
    assert (total.weight, total.clients, metrics.tokens) == (3, 1, 3)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_reply_is_refused(damage: Callable[[RecordDict], None]) -> None:
    content = reply()
    damage(content)
    with pytest.raises(ValueError, match="wrong"):
        wire.checked_sum(content, WEIGHTS, 2)


def test_a_small_group_has_no_histogram() -> None:
    figures = [TextMetrics(2.0, 0, 1, 1)] * 3
    assert "histogram" not in wire.group_content(figures, 4).metric_records["metrics"]
    counts = wire.group_content(figures, 3).metric_records["metrics"]["histogram"]
    assert isinstance(counts, list) and counts[8] == 3 and sum(counts) == 3  # 2 nats lie in the bin from 2.0 to 2.25


def test_a_census_comes_out_as_it_went_in_with_or_without_counts() -> None:
    people, counts = np.array([3, 2**64 - 1], np.uint64), {"train": np.array([5, 6], np.uint32)}
    for told in (counts, {}):
        vault, pseudonyms, found = wire.content_census(wire.census_content(b"vault", people, told))
        assert vault == b"vault" and np.array_equal(pseudonyms, people)
        assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in told.items()}
