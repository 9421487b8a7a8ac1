"""Our types to and from Flower records. Nothing else knows how a message is laid out."""

from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.common.constant import SType

from fedlm.sums import SCALE, Drift, ExactSum
from fedlm.types import IntSums, Pseudonyms, TextMetrics, Weights

_HEADER = 128  # bytes of most headers of NumPy's file format
_LAYOUTS = 256  # kept: a model's arrays have the same in every round, and NumPy parses them as Python's source


def weights_record(weights: Weights) -> ArrayRecord:
    """Returns weights as a record, in Keras order."""
    return ArrayRecord({str(i): _array(np.asarray(w, np.float32)) for i, w in enumerate(weights)})


def _array(values: npt.NDArray[Any]) -> Array:
    """Returns what Flower's `Array(values)` is; that copies the values twice."""
    contiguous = np.asarray(values, order="C")
    data = b"".join((_header(contiguous.dtype, contiguous.shape), contiguous.data))
    return Array(str(contiguous.dtype), contiguous.shape, SType.NUMPY, data)


@lru_cache(_LAYOUTS)
def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    file = BytesIO()
    npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(np.broadcast_to(np.empty((), dtype), shape)))
    return file.getvalue()


def record_weights(record: ArrayRecord) -> Weights:
    """Returns the weights of a record as float32; some strategies hand back float64."""
    return tuple(np.asarray(a, np.float32) for a in _arrays(record))


def _arrays(record: ArrayRecord) -> list[npt.NDArray[Any]]:
    """Returns the arrays of a record, read-only, in its own memory: Flower's `numpy()` copies them piece by piece.

    Raises:
      ValueError: one is not in NumPy's file format, or of objects.
    """
    try:
        return [_view(array.data) for array in record.values() if array.stype == SType.NUMPY]
    except Exception:  # noqa: BLE001 - whatever a stranger's bytes do to the parser of the header
        raise ValueError("bytes of the arrays are wrong") from None


def _view(content: bytes) -> npt.NDArray[Any]:
    try:
        shape, by_columns, dtype, offset = _known_layout(content[:_HEADER])
    except (ValueError, EOFError):  # a longer header
        shape, by_columns, dtype, offset = _layout(content)
    values = np.frombuffer(content, dtype, offset=offset)  # refuses objects
    return values.reshape(shape, order="F" if by_columns else "C")


def _layout(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Returns shape, whether columns come first, type and where the values begin."""
    file = BytesIO(content)
    read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    return *read(file), file.tell()


_known_layout = lru_cache(_LAYOUTS)(_layout)


def pseudonym_bytes(pseudonyms: Pseudonyms) -> bytes:
    """Returns pseudonyms as 8 little-endian bytes each."""
    return pseudonyms.astype("<u8").tobytes()


def bytes_pseudonyms(content: object) -> Pseudonyms:
    """Returns what `pseudonym_bytes` was given."""
    assert isinstance(content, bytes)
    return np.frombuffer(content, "<u8").astype(np.uint64)


def request(
    arrays: ArrayRecord | None,
    clients: Pseudonyms,
    settings: str,
    server_round: int,
    cohort: int,
    strategy: ConfigRecord | None = None,
) -> RecordDict:
    """Returns the content of a train or evaluate message for one chunk of clients.

    Args:
      arrays: global weights, one record for all chunks of a round; None for a query.
      clients: pseudonyms of the chunk.
      settings: the run's configuration as JSON.
      server_round: the round, from 1.
      cohort: clients drawn in the whole round.
      strategy: what the inner strategy tells its clients.
    """
    config = ConfigRecord(dict(strategy or {}))
    config.update(
        {"clients": pseudonym_bytes(clients), "settings": settings, "server-round": server_round, "cohort": cohort}
    )
    content = RecordDict({"config": config})
    if arrays is not None:
        content["arrays"] = arrays
    return content


def census_content(vault: bytes, pseudonyms: Pseudonyms, counts: Mapping[str, npt.NDArray[Any]]) -> RecordDict:
    """Returns who is in a vault, and token counts by part where the node tells them, as the content of a reply."""
    content = RecordDict({"config": ConfigRecord({"vault": vault})})
    content["clients"] = ArrayRecord({"pseudonyms": _array(pseudonyms), **{k: _array(c) for k, c in counts.items()}})
    return content


def content_census(content: RecordDict) -> tuple[bytes, Pseudonyms, Mapping[str, npt.NDArray[Any]]]:
    """Returns what `census_content` was given, read-only."""
    vault, record = content.config_records["config"]["vault"], content.array_records["clients"]
    assert isinstance(vault, bytes)
    counts = dict(zip(record, _arrays(record), strict=True))
    return vault, counts.pop("pseudonyms"), counts


def sum_content(total: ExactSum, metrics: TextMetrics) -> RecordDict:
    """Returns a chunk's exact sum and its training figures as the content of a reply."""
    record = MetricRecord({"weight": total.weight, "clients": total.clients, "failed": total.failed})
    record["below"] = total.below
    record.update(_metrics_dict(metrics))
    content = RecordDict({"arrays": _sums_record(total.sums), "metrics": record})
    if total.drift is not None:
        content["drift"] = _sums_record(total.drift.units)
        record.update({"drift-norms": float(total.drift.norms), "drift-clients": total.drift.clients})
    return content


def _sums_record(sums: IntSums) -> ArrayRecord:
    return ArrayRecord({str(i): _array(s) for i, s in enumerate(sums)})


def _record_sums(record: ArrayRecord, weights: Weights) -> IntSums:
    """Returns whole-number sums of the weights' shapes; the types come first: a cast would turn NaN into a number."""
    arrays = _arrays(record)
    if list(record) != [str(i) for i in range(len(weights))] or any(a.dtype != np.int64 for a in arrays):
        raise ValueError("names or types of the arrays are wrong")
    if [a.shape for a in arrays] != [w.shape for w in weights]:
        raise ValueError("shapes of the arrays are wrong")
    return tuple(arrays)


def checked_sum(content: RecordDict, weights: Weights, clients: int) -> tuple[ExactSum, TextMetrics]:
    """Returns what `sum_content` was given, if a chunk of so many clients can have given it.

    Raises:
      ValueError: keys, shapes, types or figures are not those of a sum over at most `clients` clients.
    """
    try:
        read = {name: _record_sums(record, weights) for name, record in content.array_records.items()}
        total, metrics = _content_sum(content, read)
    except (KeyError, AssertionError, TypeError, OverflowError):
        raise ValueError("keys or types of the reply are wrong") from None
    counts = (total.weight, total.failed, metrics.correct, metrics.tokens, metrics.characters)
    if min(counts) < 0 or not 0 <= total.clients <= clients or not np.isfinite(metrics.loss_sum):
        raise ValueError("figures of the reply are wrong")
    if (drift := total.drift) is not None:
        bound = SCALE * drift.clients + drift.clients  # a unit update has no coordinate above 1; each was rounded
        small = all(np.all(np.abs(u) <= bound) for u in drift.units)
        if not (0 <= drift.clients <= total.clients and drift.norms >= 0 and small):
            raise ValueError("figures of the drift are wrong")
    return total, metrics


def _content_sum(content: RecordDict, read: Mapping[str, IntSums]) -> tuple[ExactSum, TextMetrics]:
    record = content.metric_records["metrics"]
    total = ExactSum(read["arrays"], _int(record["weight"]), _int(record["clients"]), _int(record["failed"]))
    total.below = _int(record["below"])
    if "drift" in read:
        total.drift = Drift(read["drift"], _int(record["drift-norms"]), _int(record["drift-clients"]))
    return total, _dict_metrics(record)


def evaluation_content(clients: Pseudonyms, metrics: list[TextMetrics]) -> RecordDict:
    """Returns sums per client as the content of a reply."""
    columns = MetricRecord(
        {
            "loss-sum": [m.loss_sum for m in metrics],
            "correct": [m.correct for m in metrics],
            "tokens": [m.tokens for m in metrics],
            "characters": [m.characters for m in metrics],
        }
    )
    return RecordDict({"metrics": columns, "config": ConfigRecord({"clients": pseudonym_bytes(clients)})})


HISTOGRAM_BINS, BIN_NATS = 48, 0.25


def group_content(metrics: list[TextMetrics], min_group: int) -> RecordDict:
    """Returns the sum over all clients, and how many lie in each quarter of a nat of log-perplexity.

    Args:
      metrics: one a client.
      min_group: fewer clients than that get no histogram.
    """
    total = TextMetrics()
    for figures in metrics:
        total += figures
    record = MetricRecord()
    record.update(_metrics_dict(total))
    losses = [m.loss_sum / m.tokens for m in metrics if m.tokens]
    if len(losses) >= min_group:
        edges = np.arange(HISTOGRAM_BINS + 1) * BIN_NATS
        counts, _ = np.histogram(np.clip(losses, 0, edges[-1]), edges)
        record["histogram"] = [int(c) for c in counts]
    return RecordDict({"metrics": record})


def content_group(content: RecordDict) -> TextMetrics | None:
    """Returns the sum over a chunk's clients; None if the reply has sums per client."""
    return None if "config" in content.config_records else _dict_metrics(content.metric_records["metrics"])


def content_evaluation(content: RecordDict) -> dict[int, TextMetrics]:
    """Returns the sums per pseudonym of an evaluation reply."""
    record = content.metric_records["metrics"]
    clients = bytes_pseudonyms(content.config_records["config"]["clients"])
    columns = [record[k] for k in ("loss-sum", "correct", "tokens", "characters")]
    rows = zip(*[c if isinstance(c, list) else [c] for c in columns], strict=True)
    return {
        int(p): TextMetrics(float(a), int(b), int(c), int(d)) for p, (a, b, c, d) in zip(clients, rows, strict=True)
    }


def _metrics_dict(metrics: TextMetrics) -> dict[str, int | float]:
    return {
        "loss-sum": metrics.loss_sum,
        "correct": metrics.correct,
        "tokens": metrics.tokens,
        "characters": metrics.characters,
    }


def _dict_metrics(record: MetricRecord) -> TextMetrics:
    loss = record["loss-sum"]
    assert isinstance(loss, float | int)
    return TextMetrics(float(loss), *(_int(record[k]) for k in ("correct", "tokens", "characters")))


def _int(value: object) -> int:
    assert isinstance(value, int | float)
    return int(value)
