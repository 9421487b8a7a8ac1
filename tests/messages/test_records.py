"""NumPy arrays as Flower's records, byte for byte as Flower itself lays them out."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fedlm.messages.records import arrays_of, as_array, record_of, records_in
from tests.support import malformed as m

pytestmark = pytest.mark.flower


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


def test_arrays_come_out_read_only_and_in_order() -> None:
    arrays = [np.full(2, n) for n in range(12)]  # "10" stands behind "9"
    found = arrays_of(record_of(arrays))
    assert [f.tolist() for f in found] == [a.tolist() for a in arrays]
    assert not any(f.flags.writeable for f in found)


def test_an_array_in_columns_and_one_with_a_long_header_are_read() -> None:
    wide = np.zeros((2, 1), [(f"a field of a long name {i}", "f4") for i in range(8)])
    columns = np.asfortranarray(np.arange(6).reshape(2, 3))
    found = arrays_of(ArrayRecord({"0": m.filed(columns), "1": m.filed(wide)}))
    assert found[0].tolist() == columns.tolist() and found[1].dtype == wide.dtype and found[1].shape == (2, 1)


READABLE = ("of words", "of complex numbers", "of dates", "of records")  # arrays, though of no weights
BROKEN = [b for b in m.unreadable_arrays(as_array(np.zeros(4, np.int64))) if b[0] not in READABLE]


@pytest.mark.parametrize(("what", "array"), BROKEN)
def test_bytes_of_no_array_are_refused_with_one_sentence(what: str, array: Array) -> None:
    with pytest.raises(ValueError, match="bytes of the arrays are malformed"):
        arrays_of(ArrayRecord({"0": array}))


def test_records_are_found_by_their_type() -> None:
    content = RecordDict({"a": ConfigRecord(), "b": ArrayRecord(), "c": MetricRecord(), "d": ConfigRecord()})
    assert list(records_in(content, ConfigRecord)) == ["a", "d"] and list(records_in(content, ArrayRecord)) == ["b"]
    assert records_in(RecordDict(), ConfigRecord) == {}


def test_an_array_without_values_takes_no_memory_whatever_its_sizes() -> None:
    content = m.headed((0, 2**40), b"")
    (found,) = arrays_of(ArrayRecord({"0": Array("float32", (0,), "numpy.ndarray", content)}))
    assert found.nbytes == 0 and found.shape == (0, 2**40)
