"""Writes what a search found: a table for the terminal, CSV, JSON, and a configuration file for each method."""

import csv
import hashlib
import io
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fedlm.config import RunConfig
from fedlm.errors import counted
from fedlm.measure.statistics import Interval
from fedlm.system.figures_json import plain, to_json
from fedlm.system.files import write_atomic
from scenarios.tuning.grid import Grid
from scenarios.tuning.outcome import Method, Outcome, Row

_UNDEFINED = "-"


def write_outcome(outcome: Outcome, grid: Grid, folder: Path) -> None:
    """Writes tuned.csv, tuned.json, tuned.toml (the best of all) and, with several methods, tuned-METHOD.toml."""
    for old in folder.glob("tuned*.toml"):
        old.unlink()
    write_atomic(folder / "tuned.csv", _csv(outcome, grid))
    write_atomic(folder / "tuned.json", to_json(content(outcome, grid), indent=2))
    if outcome.best is not None:
        _write_config(outcome, outcome.best, folder / "tuned.toml")
    for method in outcome.methods if grid.per else ():
        if method.chosen is not None:
            _write_config(outcome, method.chosen, folder / f"tuned-{file_name(method.name, grid)}.toml")


def file_name(method: str, grid: Grid) -> str:
    """Returns a method's part of a file's name; two methods never have the same."""
    slugs = [re.sub(r"[^\w.]+", "-", m).strip("-") or "method" for m in grid.methods]
    place = grid.methods.index(method)
    return slugs[place] if slugs.count(slugs[place]) == 1 else f"{slugs[place]}-{place + 1}"


def _write_config(outcome: Outcome, row: Row, file: Path) -> None:
    """Writes a setting as TOML for --config; a learned vocabulary lies beside it."""
    import tomli_w

    config: RunConfig = row.setting.config
    values = {k: v for k, v in config.given().items() if k != "vocabulary_text"}
    if config.vocabulary_text:
        spec = config.spec("vocabulary")
        name = f"vocabulary-{hashlib.sha256(config.vocabulary_text.encode()).hexdigest()[:8]}.json"
        write_atomic(file.parent / name, config.vocabulary_text)
        spec.options["file"] = name
        values["vocabulary"] = str(spec)
    budget = outcome.budget
    head = (
        f"# Chosen by fedlm tune: {row.bits.mean:.3f} bits per character on validation text, mean over "
        f"{counted(len(budget.seeds), 'seed')}, {counted(budget.rounds, 'round')}.\n"
    )
    write_atomic(file, head + tomli_w.dumps(values))


def content(outcome: Outcome, grid: Grid) -> dict[str, Any]:
    """Returns all figures of a search as plain values; what is undefined is null."""
    budget = outcome.budget
    found: dict[str, Any] = plain(
        {
            "data": budget.data,
            "metric": "validation bits per character",
            "rounds": budget.rounds,
            "seeds": budget.seeds,
            "grid": {axis.name: axis.values for axis in grid.axes},
            "per": grid.per,
            "methods": [
                {
                    "method": method.name,
                    "chosen": None if method.chosen is None else dict(method.chosen.setting.values),
                    "config": f"tuned-{file_name(method.name, grid)}.toml"
                    if grid.per and method.chosen
                    else "tuned.toml"
                    if method.chosen
                    else None,
                    "settings": [_plain_row(row) for row in method.rows],
                    "notes": method.notes,
                }
                for method in outcome.methods
            ],
            "notes": outcome.notes,
        }
    )
    return found


def _plain_row(row: Row) -> dict[str, Any]:
    return {
        "values": dict(row.setting.values),
        "status": row.status.value,
        **vars(row.bits),
        "accuracy": row.accuracy,
        "difference": None if row.difference is None else vars(row.difference),
        "by_seed": {str(seed): value for seed, value in row.by_seed.items()},
    }


def _csv(outcome: Outcome, grid: Grid) -> str:
    """Returns the table as CSV, one row for each setting; what is undefined is empty."""
    axes = [axis.name for axis in grid.axes]
    seeds = [f"seed_{seed}" for seed in outcome.budget.seeds]
    figures = ["mean", "low", "high", "count", "accuracy", "difference", "difference_low", "difference_high"]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["method", *axes, "status", *figures, *seeds])
    for method in outcome.methods:
        for row in method.rows:
            gap = row.difference or Interval(math.nan, math.nan, math.nan, 0)
            numbers = [*vars(row.bits).values(), row.accuracy, gap.mean, gap.low, gap.high, *row.by_seed.values()]
            values = [row.setting.values.get(axis, "") for axis in axes]
            table.writerow([method.name, *values, row.status.value, *map(_plain_number, numbers)])
    return text.getvalue()


def _plain_number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else repr(value)


def lines(outcome: Outcome, grid: Grid) -> Iterator[str]:
    """Yields the table and the sentences for the terminal."""
    budget = outcome.budget
    yield f"validation loss in bits per character, mean over {counted(len(budget.seeds), 'seed')}, with its 95 % interval"
    for method in outcome.methods:
        yield ""
        yield from _table(method, grid)
        yield from method.notes
    if outcome.notes:
        yield ""
        yield from outcome.notes


def _table(method: Method, grid: Grid) -> Iterator[str]:
    """Yields a method's table in columns; values are aligned on the left, figures on the right."""
    axes = [a.name for a in grid.axes if any(a.name in row.setting.values for row in method.rows)]
    head = [*axes, "bits", "interval", "difference", "accuracy", ""]
    cells = [[*(row.setting.values.get(a, "") for a in axes), *_figures(row)] for row in method.rows]
    widths = [max(len(line[i]) for line in [head, *cells]) for i in range(len(head))]
    for line in [head, *cells]:
        yield "  ".join(_padded(line, widths, len(axes))).rstrip()


def _figures(row: Row) -> list[str]:
    if math.isnan(row.bits.mean):
        return [_UNDEFINED, _UNDEFINED, _UNDEFINED, _UNDEFINED, row.status.value]
    low, high = row.bits.low, row.bits.high
    interval = _UNDEFINED if math.isnan(low) else f"{low:.3f} to {high:.3f}"
    gap = _UNDEFINED if row.difference is None else f"{row.difference.mean:+.3f}"
    return [f"{row.bits.mean:.3f}", interval, gap, f"{row.accuracy:.4f}", row.status.value]


def _padded(line: Sequence[str], widths: Sequence[int], left: int) -> Iterator[str]:
    for place, (cell, width) in enumerate(zip(line, widths, strict=True)):
        yield cell.ljust(width) if place < left or place == len(line) - 1 else cell.rjust(width)
