"""Fields that several messages share: the arrays, the pseudonyms, and what is said of a wrong one."""

import math

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from fedlm.messages.fields import (
    VERSION,
    Malformed,
    count_in,
    head,
    list_in,
    metrics_fields,
    metrics_of,
    number_in,
    pseudonym_bytes,
    pseudonyms_in,
    read_head,
    record_in,
    record_weights,
    scalars,
    weights_record,
    whole_numbers,
)
from fedlm.messages.records import as_array, record_of
from fedlm.types import TextMetrics

pytestmark = pytest.mark.flower


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_pseudonyms_come_out_as_they_went_in(clients: list[int]) -> None:
    content = pseudonym_bytes(np.array(clients, np.uint64))
    assert len(content) == 8 * len(clients)
    assert pseudonyms_in(ConfigRecord({"clients": content})).tolist() == clients


def test_pseudonyms_are_little_endian_on_every_machine() -> None:
    assert pseudonym_bytes(np.array([1], ">u8")) == b"\1" + bytes(7)


@given(st.floats(), st.lists(st.integers(0, 2**63 - 1), min_size=3, max_size=3))
def test_sums_over_targets_come_out_as_they_went_in(loss: float, counts: list[int]) -> None:
    found = metrics_of(MetricRecord(metrics_fields(TextMetrics(loss, *counts))))
    assert [found.correct, found.tokens, found.characters] == counts
    assert found.loss_sum == loss or (math.isnan(loss) and math.isnan(found.loss_sum))


@pytest.mark.parametrize(
    "weights", [(), (np.zeros((0, 3), np.float32),), (np.float32([[1, math.nan]]), np.full((), -0.0, np.float32))]
)
def test_weights_come_out_as_they_went_in(weights: tuple[np.ndarray, ...]) -> None:
    found = record_weights(weights_record(weights))
    assert [(w.shape, w.tobytes()) for w in found] == [(w.shape, w.tobytes()) for w in weights]


def test_weights_of_a_strategy_in_double_precision_become_single() -> None:
    (found,) = record_weights(ArrayRecord({"0": as_array(np.array([1 / 3, 2]))}))
    assert found.dtype == np.float32 and found.tolist() == [np.float32(1 / 3), 2]


@pytest.mark.parametrize(("value", "count"), [(0, 0), (3, 3), (3.0, 3), (2.0**80, 2**80), (-0.0, 0)])
def test_a_count_may_come_as_a_whole_float(value: float, count: int) -> None:
    assert count_in(MetricRecord({"n": value}), "n") == count and type(count_in(MetricRecord({"n": value}), "n")) is int


def test_a_number_may_be_whole_infinite_or_nan() -> None:
    record = MetricRecord({"whole": 3, "infinite": -math.inf, "nan": math.nan})
    assert number_in(record, "whole") == 3.0 and number_in(record, "infinite") == -math.inf
    assert math.isnan(number_in(record, "nan"))


def test_a_request_of_another_version_says_which() -> None:
    content = RecordDict({"config": head("{}", 3)})
    assert read_head(content)[1:] == ("{}", 3)
    content["config"]["version"] = VERSION + 1
    with pytest.raises(Malformed, match=f"version {VERSION + 1}, not {VERSION}: install the same version of fedlm"):
        read_head(content)
    for other in (float(VERSION), str(VERSION), [VERSION]):  # a number that is equal, and no whole one
        content["config"]["version"] = other
        with pytest.raises(Malformed, match=f"version unknown, not {VERSION}"):
            read_head(content)
    del content["config"]["version"]  # as before there were versions
    with pytest.raises(Malformed, match=f"version unknown, not {VERSION}"):
        read_head(content)


@pytest.mark.parametrize(("server_round", "taken"), [(2**63 - 1, True), (2**63, False), (2**64 - 1, False)])
def test_a_round_beyond_the_range_of_the_streams_is_malformed(server_round: int, taken: bool) -> None:
    content = RecordDict({"config": head("{}", server_round)})
    if taken:
        assert read_head(content)[2] == server_round
        return
    with pytest.raises(Malformed, match="'round' is out of range"):
        read_head(content)


def test_weights_of_a_type_other_than_numpys_are_not_skipped() -> None:
    record = record_of([np.ones(2, np.float32)] * 2)
    record["1"] = Array("float32", (2,), "pickle", record["1"].data)
    with pytest.raises(Malformed, match="not arrays of numbers"):
        record_weights(record)


def test_a_wrong_message_is_described_without_a_value_of_it() -> None:
    secret = "a secret"
    content = RecordDict({"config": ConfigRecord({"version": secret, "settings": 3, "clients": secret, "n": secret})})
    for read in (read_head, lambda c: pseudonyms_in(c["config"]), lambda c: count_in(c["config"], "n")):
        with pytest.raises(Malformed) as refused:
            read(content)
        assert secret not in str(refused.value)


def test_a_record_is_found_by_its_name_and_its_type() -> None:
    content = RecordDict({"config": ConfigRecord(), "metrics": MetricRecord()})
    assert record_in(content, "config", ConfigRecord) is content["config"]
    for name, kind in (("config", MetricRecord), ("metrics", ArrayRecord), ("more", ConfigRecord)):
        with pytest.raises(Malformed, match=f"the record '{name}' is missing or has the wrong type"):
            record_in(content, name, kind)


def test_numbers_are_told_and_the_rest_is_left_out() -> None:
    assert scalars(ConfigRecord({"a": 1, "b": 0.5, "c": "1", "d": True, "e": [1.0]})) == {"a": 1.0, "b": 0.5}


@pytest.mark.parametrize("values", [[], [1], [1, 2, 3], ["1", "2"], "12", 3, None])
def test_a_list_has_one_number_for_each_thing(values: object) -> None:
    record = ConfigRecord({} if values is None else {"n": values})  # type: ignore[dict-item]
    with pytest.raises(Malformed, match="the field 'n' does not have one number per client"):
        list_in(record, "n", 2, "client")


def test_numbers_of_a_list_come_as_they_are_and_whole_ones_are_checked() -> None:
    assert list_in(MetricRecord({"n": [1, 2]}), "n", 2, "client") == [1, 2]
    assert list_in(MetricRecord({"n": [0.5, math.inf]}), "n", 2, "client") == [0.5, math.inf]
    assert whole_numbers([-1, 2**40], "n") == [-1, 2**40] and whole_numbers([0], "n", least=0) == [0]
    for values, least in (([-1], 0), ([0.0], None), ([True], None), (["1"], None)):
        with pytest.raises(Malformed, match="the field 'n' is not a list of whole numbers"):
            whole_numbers(values, "n", least)
