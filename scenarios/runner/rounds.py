"""The learning curves of a study: what its runs measured after each round, in rounds.parquet."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fedlm.system.files import replacing
from scenarios.runner.record import RunRecord
from server.store.run_folder import RunFolder

CURVES = ("bits_per_char", "accuracy", "perplexity", "loss", "train_loss")
"""What a run knows of single rounds, and `curve` figures draw. `train_loss` is over the tokens of the round's cohort."""
_TRAINED = "train_loss"


def write_rounds(out: Path, name: str, records: Sequence[RunRecord]) -> None:
    """Writes rounds.parquet into a study's folder from the metrics.jsonl of its runs, whole or not at all.

    Args:
      out: the study's folder.
      name: of the study.
      records: of the runs that succeeded. A centralised run has no rounds, so it has no rows.
    """
    import pyarrow as pa
    from pyarrow import parquet

    runs = out / "runs"
    rows = [row for record in records for row in _rows(name, record, RunFolder(runs / record.folder))]
    schema = pa.schema(
        [(k, pa.string()) for k in ("study", "condition", "algorithm")]
        + [("x", pa.float64()), ("seed", pa.int64()), ("round", pa.int64()), ("metric", pa.string())]
        + [("value", pa.float64())]
    )
    with replacing(out / "rounds.parquet") as beside:
        parquet.write_table(pa.Table.from_pylist(rows, schema), beside)


def _rows(name: str, record: RunRecord, folder: RunFolder) -> Iterator[dict[str, Any]]:
    """Yields the rows of one run; values that are not finite have none."""
    run = {"study": name, **{k: getattr(record, k) for k in ("condition", "algorithm", "x", "seed")}}
    for line in folder.metrics() if folder.path.is_dir() else ():
        found = {**(line.get("eval") or {}), _TRAINED: line.get(_TRAINED)}
        for metric in CURVES:
            value = found.get(metric)
            if isinstance(value, (int, float)) and math.isfinite(value):
                yield {**run, "round": int(line["round"]), "metric": metric, "value": float(value)}
