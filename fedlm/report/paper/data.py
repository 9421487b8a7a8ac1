"""The tidy data of a study: a row for each run, round, group and metric."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fedlm.report.paper.tables import as_csv

COLUMNS = ("condition", "algorithm", "x", "seed", "round", "group", "metric", "value")
_OF_GROUPS = ("group", "group_excess")  # families whose members are groups of clients


def tidy(content: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows: figures at the end of a run have no round, figures of all clients no group.

    Single clients are in results.parquet.
    """
    ends = [_row(run, None, *_split(name), value) for run in content["runs"] for name, value in run["figures"].items()]
    curves = [_row(r, r["round"], "", r["metric"], r["value"]) for r in rounds]
    return [row for row in [*ends, *curves] if row["value"] is not None and math.isfinite(row["value"])]


def _split(name: str) -> tuple[str, str]:
    family, colon, member = name.partition(":")
    return (member, family) if colon and family in _OF_GROUPS else ("", name)


def _row(
    run: Mapping[str, Any], server_round: int | None, group: str, metric: str, value: float | None
) -> dict[str, Any]:
    case = {key: run.get(key) for key in ("condition", "algorithm", "x", "seed")}
    return {**case, "round": server_round, "group": group, "metric": metric, "value": value}


def as_files(rows: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Returns the rows as data.csv and data.parquet."""
    import pyarrow as pa
    from pyarrow import parquet

    types = (pa.string(), pa.string(), pa.float64(), pa.int64(), pa.int64(), pa.string(), pa.string(), pa.float64())
    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows), pa.schema(list(zip(COLUMNS, types, strict=True)))), out)
    return {"data.csv": as_csv(COLUMNS, rows).encode(), "data.parquet": out.getvalue()}
