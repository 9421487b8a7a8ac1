"""Our types to and from Flower records. Nothing else knows how a message is laid out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from fedlm.aggregation.exact import SCALE, Drift, ExactSum
from fedlm.messages.records import (
    Allocate,
    arrays_in,
    arrays_of,
    as_array,
    config_in,
    metrics_in,
    record_of,
    records_in,
)
from fedlm.types import IntSums, Pseudonyms, TextMetrics, Weights


def weights_record(weights: Weights) -> ArrayRecord:
    """Returns weights as a record, in Keras order."""
    return record_of(np.asarray(w, np.float32) for w in weights)


def record_weights(record: ArrayRecord) -> Weights:
    """Returns the weights of a record as float32; some strategies hand back float64."""
    return tuple(np.asarray(a, np.float32) for a in arrays_of(record))


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
    """Returns who is in a vault, and counts of tokens and documents where the node tells them, as the content of a reply."""
    content = RecordDict({"config": ConfigRecord({"vault": vault})})
    content["clients"] = ArrayRecord(
        {"pseudonyms": as_array(pseudonyms), **{k: as_array(c) for k, c in counts.items()}}
    )
    return content


def content_census(content: RecordDict) -> tuple[bytes, Pseudonyms, Mapping[str, npt.NDArray[Any]]]:
    """Returns what `census_content` was given, read-only."""
    vault, record = config_in(content)["vault"], arrays_in(content, "clients")
    assert isinstance(vault, bytes)
    counts = dict(zip(record, arrays_of(record), strict=True))
    return vault, counts.pop("pseudonyms"), counts


def sum_content(total: ExactSum, metrics: TextMetrics, allocate: Allocate | None = None) -> RecordDict:
    """Returns a chunk's exact sum and its training figures as the content of a reply.

    Args:
      total: is copied.
      metrics: of the training.
      allocate: where the sum shall lie.
    """
    record = MetricRecord({"weight": total.weight, "clients": total.clients, "failed": total.failed})
    record["below"] = total.below
    record.update(_metrics_dict(metrics))
    content = RecordDict({"arrays": record_of(total.sums, allocate), "metrics": record})
    if total.drift is not None:
        content["drift"] = record_of(total.drift.units, allocate)
        record.update({"drift-norms": float(total.drift.norms), "drift-clients": total.drift.clients})
    return content


def _record_sums(record: ArrayRecord, weights: Weights) -> IntSums:
    """Returns whole-number sums of the weights' shapes; the types come first: a cast would turn NaN into a number."""
    arrays = arrays_of(record)
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
        read = {name: _record_sums(record, weights) for name, record in records_in(content, ArrayRecord).items()}
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
    record = metrics_in(content)
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
    return None if "config" in content else _dict_metrics(metrics_in(content))


def content_evaluation(content: RecordDict) -> dict[int, TextMetrics]:
    """Returns the sums per pseudonym of an evaluation reply."""
    record = metrics_in(content)
    clients = bytes_pseudonyms(config_in(content)["clients"])
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
