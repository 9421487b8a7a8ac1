"""Takes one client's held-out text out of a run's evaluation figures, exactly: they are sums per client."""

from typing import Any

from fedlm.measure.text import summary
from fedlm.types import TextMetrics
from server.checkpoint import replacing
from server.run_folder import RunFolder


def drop_client(folder: RunFolder, client: int, last_round: int) -> None:
    """Rewrites metrics.jsonl and clients.parquet without a client and without rounds after `last_round`.

    A line whose figures per client are not kept loses its evaluation: it could not be told apart from the client's.
    """
    totals = _rewrite_clients(folder, client, last_round)
    lines: list[dict[str, Any]] = []
    for line in folder.metrics():
        if line["round"] <= last_round:
            kept = {k: v for k, v in line.items() if k != "eval"}
            if "eval" in line and line["round"] in totals:
                kept["eval"] = summary(totals[line["round"]])
            lines.append(kept)
    folder.start_metrics(lines)


def _rewrite_clients(folder: RunFolder, client: int, last_round: int) -> dict[int, TextMetrics]:
    """Returns the sums of each evaluation that is left, added in the order of pseudonyms as `Federation` does."""
    import pyarrow as pa
    from pyarrow import parquet

    path = folder.figures / "clients.parquet"
    if not path.is_file():
        return {}
    table = parquet.read_table(path)
    rows = [r for r in table.to_pylist() if r["client"] != client and r["round"] <= last_round]
    with replacing(path) as beside:
        parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), beside)
    totals: dict[int, TextMetrics] = {}
    for r in sorted(rows, key=lambda r: (r["round"], r["client"])):
        figures = TextMetrics(r["loss_sum"], r["correct"], r["tokens"], r["characters"])
        totals[r["round"]] = totals.get(r["round"], TextMetrics()) + figures
    return totals
