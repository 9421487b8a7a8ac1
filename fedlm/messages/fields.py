"""Reading the fields of Flower's records with checks, and the fields that several messages share."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fedlm.messages.json_text import check_object
from fedlm.messages.malformed import Malformed as Malformed
from fedlm.messages.records import arrays_of, record_of, records_in
from fedlm.types import Pseudonyms, TextMetrics, Weights

VERSION = 3
"""The version of the layout of all messages. Each side refuses any other version."""

_MAX_ROUND = 2**63  # rounds are words of random streams
Record = TypeVar("Record", ArrayRecord, ConfigRecord, MetricRecord)
Value = TypeVar("Value", str, bytes, bool)


def record_in(content: RecordDict, name: str, kind: type[Record]) -> Record:
    """Returns a record of a message by name.

    Raises:
      Malformed: there is no record of this name and kind.
    """
    found = records_in(content, kind).get(name)
    if found is None:
        raise Malformed(f"the record {name!r} is missing or has the wrong type")
    return found


def config_in(content: RecordDict) -> ConfigRecord:
    """Returns the record `config`, which every request has; see `record_in`."""
    return record_in(content, "config", ConfigRecord)


def arrays_in(content: RecordDict, name: str = "arrays") -> ArrayRecord:
    """Returns a record of arrays; see `record_in`."""
    return record_in(content, name, ArrayRecord)


def metrics_in(content: RecordDict) -> MetricRecord:
    """Returns the record `metrics`; see `record_in`."""
    return record_in(content, "metrics", MetricRecord)


def value_in(record: ConfigRecord, key: str, kind: type[Value]) -> Value:
    """Returns a field that has exactly this type.

    Raises:
      Malformed: it is missing or has another type.
    """
    value = record.get(key)
    if type(value) is not kind:
        raise Malformed(f"the field {key!r} is missing or has the wrong type")
    return value


def count_in(record: ConfigRecord | MetricRecord, key: str) -> int:
    """Returns a field that is a whole number >= 0: an integer, or a float where it may exceed 64 bits.

    Raises:
      Malformed: it is missing, negative, not whole, or not a number.
    """
    value = record.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or value < 0:
        raise Malformed(f"the field {key!r} is not a whole number >= 0")
    return value


def number_in(record: ConfigRecord | MetricRecord, key: str) -> float:
    """Returns a field that is a number; it may be infinite or NaN.

    Raises:
      Malformed: it is missing or not a number.
    """
    value = record.get(key)
    if type(value) not in (int, float):
        raise Malformed(f"the field {key!r} is not a number")
    return float(value)  # type: ignore[arg-type]


def strings_in(record: ConfigRecord, key: str) -> list[str]:
    """Returns a field that is a list of strings.

    Raises:
      Malformed: it is missing or not such a list.
    """
    value = record.get(key)
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise Malformed(f"the field {key!r} is not a list of strings")
    return [str(v) for v in value]


def list_in(record: ConfigRecord | MetricRecord, key: str, length: int, each: str) -> list[int | float]:
    """Returns a field that is a list of numbers, one for each thing that another field names.

    Args:
      record: where it is.
      key: its name.
      length: the number of things.
      each: what they are, for the error message: "client".

    Raises:
      Malformed: it is missing, not a list of numbers, or has another length.
    """
    values = record.get(key)
    if not isinstance(values, list) or len(values) != length or not all(type(v) in (int, float) for v in values):
        raise Malformed(f"the field {key!r} does not have one number per {each}")
    return list(values)  # type: ignore[arg-type]


def whole_numbers(values: Sequence[object], key: str, least: int | None = None) -> list[int]:
    """Returns the values of a field if they are all integers, none below `least`.

    Raises:
      Malformed: one is not.
    """
    if not all(type(v) is int and (least is None or v >= least) for v in values):
        raise Malformed(f"the field {key!r} is not a list of whole numbers{'' if least is None else f' >= {least}'}")
    return [int(v) for v in values]  # type: ignore[call-overload]


def weights_record(weights: Weights) -> ArrayRecord:
    """Returns weights as a record, in Keras order. All messages of a round share one record, so its arrays are written once."""
    return record_of(np.asarray(w, np.float32) for w in weights)


def record_weights(record: ArrayRecord) -> Weights:
    """Returns the weights of a record as float32; some of Flower's strategies return float64.

    Raises:
      Malformed: they cannot be read as arrays of numbers.
    """
    try:
        arrays = arrays_of(record)
    except ValueError:
        raise Malformed("the arrays cannot be read") from None
    # The dtype is checked first: a cast would turn strings and dates into numbers, and drop imaginary parts.
    if len(arrays) != len(record) or any(a.dtype.kind not in "fiub" for a in arrays):
        raise Malformed("the arrays are not arrays of numbers")
    return tuple(np.asarray(a, np.float32) for a in arrays)


def pseudonym_bytes(pseudonyms: Pseudonyms) -> bytes:
    """Returns pseudonyms as 8 little-endian bytes each."""
    return pseudonyms.astype("<u8").tobytes()


def pseudonyms_in(record: ConfigRecord, key: str = "clients") -> Pseudonyms:
    """Returns the pseudonyms of a field.

    Raises:
      Malformed: it is missing, or its length is not a multiple of 8 bytes.
    """
    content = value_in(record, key, bytes)
    if len(content) % 8:
        raise Malformed(f"the field {key!r} does not have 8 bytes per client")
    return np.frombuffer(content, "<u8").astype(np.uint64)


def metrics_fields(metrics: TextMetrics) -> dict[str, int | float]:
    """Returns sums over targets as fields; `metrics_of` reads them."""
    return {
        "loss-sum": metrics.loss_sum,
        "correct": metrics.correct,
        "tokens": metrics.tokens,
        "characters": metrics.characters,
    }


def metrics_of(record: MetricRecord) -> TextMetrics:
    """Returns sums over targets.

    Raises:
      Malformed: a field is missing, a count is negative, or the loss is not a number.
    """
    counts = (count_in(record, key) for key in ("correct", "tokens", "characters"))
    return TextMetrics(number_in(record, "loss-sum"), *counts)


def head(settings: str, server_round: int, **fields: str | bytes | int | bool | float) -> ConfigRecord:
    """Returns the record `config` of a request: version, the run's configuration as JSON, round, and further fields."""
    return ConfigRecord({"version": VERSION, "settings": settings, "round": server_round, **fields})


def read_head(content: RecordDict) -> tuple[ConfigRecord, str, int]:
    """Returns the record `config` of a request, its settings and its round.

    Raises:
      Malformed: the request has another version, a field is missing, or its settings are no JSON object.
    """
    config = config_in(content)
    version = config.get("version")
    if type(version) is not int or version != VERSION:
        named = version if type(version) is int else "unknown"
        raise Malformed(
            f"the message has layout version {named}, not {VERSION}: install the same version of fedlm everywhere"
        )
    settings, server_round = value_in(config, "settings", str), count_in(config, "round")
    check_object(settings)
    if server_round >= _MAX_ROUND:
        raise Malformed("the field 'round' is out of range")
    return config, settings, server_round


def scalars(record: Mapping[str, object]) -> dict[str, float]:
    """Returns the numbers of a record; other fields are skipped."""
    return {k: float(v) for k, v in record.items() if type(v) in (int, float)}  # type: ignore[arg-type]
