"""Reading the fields of Flower's records with checks, and the fields that several messages share."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fedlm.messages.records import arrays_of, record_of, records_in
from fedlm.types import Pseudonyms, TextMetrics, Weights

VERSION = 1
"""Of the layout of all messages. A side refuses another one."""

Record = TypeVar("Record", ArrayRecord, ConfigRecord, MetricRecord)
Value = TypeVar("Value", str, bytes, bool)


class Malformed(ValueError):
    """A message is not laid out as one of its kind. The text names a field, never a value."""


def record_in(content: RecordDict, name: str, kind: type[Record]) -> Record:
    """Returns a record of a message by name.

    Raises:
      Malformed: there is none of this name and kind.
    """
    found = records_in(content, kind).get(name)
    if found is None:
        raise Malformed(f"the record {name!r} is missing or of a wrong type")
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
    """Returns a field that is of exactly this type.

    Raises:
      Malformed: it is missing, or of another type.
    """
    value = record.get(key)
    if type(value) is not kind:
        raise Malformed(f"the field {key!r} is missing or of a wrong type")
    return value


def count_in(record: ConfigRecord | MetricRecord, key: str) -> int:
    """Returns a field that is a whole number >= 0, as an integer or, where it may be larger than 64 bits, a float.

    Raises:
      Malformed: it is missing, negative, not whole, or no number.
    """
    value = record.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or value < 0:
        raise Malformed(f"the field {key!r} is wrong: it is not a whole number of at least 0")
    return value


def number_in(record: ConfigRecord | MetricRecord, key: str) -> float:
    """Returns a field that is a number; it may be infinite or NaN.

    Raises:
      Malformed: it is missing, or no number.
    """
    value = record.get(key)
    if type(value) not in (int, float):
        raise Malformed(f"the field {key!r} is wrong: it is not a number")
    return float(value)  # type: ignore[arg-type]


def strings_in(record: ConfigRecord, key: str) -> list[str]:
    """Returns a field that is a list of strings.

    Raises:
      Malformed: it is missing, or not one.
    """
    value = record.get(key)
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise Malformed(f"the field {key!r} is wrong: it is not a list of strings")
    return [str(v) for v in value]


def weights_record(weights: Weights) -> ArrayRecord:
    """Returns weights as a record, in Keras order. One record serves all messages of a round: its arrays travel once."""
    return record_of(np.asarray(w, np.float32) for w in weights)


def record_weights(record: ArrayRecord) -> Weights:
    """Returns the weights of a record as float32; some of Flower's strategies return float64.

    Raises:
      Malformed: they do not read as arrays of numbers.
    """
    try:
        arrays = arrays_of(record)
    except ValueError:
        raise Malformed("the arrays are wrong: they do not read") from None
    # The kind is checked first: a cast would read words and dates as numbers, and halve complex ones.
    if len(arrays) != len(record) or any(a.dtype.kind not in "fiub" for a in arrays):
        raise Malformed("the arrays are wrong: they do not read as numbers")
    return tuple(np.asarray(a, np.float32) for a in arrays)


def pseudonym_bytes(pseudonyms: Pseudonyms) -> bytes:
    """Returns pseudonyms as 8 little-endian bytes each."""
    return pseudonyms.astype("<u8").tobytes()


def pseudonyms_in(record: ConfigRecord, key: str = "clients") -> Pseudonyms:
    """Returns the pseudonyms of a field.

    Raises:
      Malformed: it is missing, or not a whole number of them.
    """
    content = value_in(record, key, bytes)
    if len(content) % 8:
        raise Malformed(f"the field {key!r} is wrong: it is not 8 bytes a client")
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
      Malformed: one is missing, a count is negative, or the loss is no number.
    """
    counts = (count_in(record, key) for key in ("correct", "tokens", "characters"))
    return TextMetrics(number_in(record, "loss-sum"), *counts)


def head(settings: str, server_round: int, **fields: str | bytes | int | bool | float) -> ConfigRecord:
    """Returns the record `config` of a request: version, the run's configuration as JSON, the round, and more fields."""
    return ConfigRecord({"version": VERSION, "settings": settings, "round": server_round, **fields})


def read_head(content: RecordDict) -> tuple[ConfigRecord, str, int]:
    """Returns the record `config` of a request, its settings and its round.

    Raises:
      Malformed: the request is of another version, or a field is missing.
    """
    config = config_in(content)
    version = config.get("version")
    if type(version) is not int or version != VERSION:
        named = version if type(version) is int else "unknown"
        raise Malformed(f"the message has the layout of version {named}, not {VERSION}: use one version of fedlm")
    return config, value_in(config, "settings", str), count_in(config, "round")


def scalars(record: Mapping[str, object]) -> dict[str, float]:
    """Returns the numbers of a record; what is none is left out."""
    return {k: float(v) for k, v in record.items() if type(v) in (int, float)}  # type: ignore[arg-type]
