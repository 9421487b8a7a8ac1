"""Study folders of earlier versions: study.json of formats 1 (which had no `format`) and 2. Read for one version.

Their brackets were percentile bootstrap intervals, with three seeds the range; they are computed anew from the runs' figures.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fedlm.measure.registry import find_metric
from fedlm.measure.statistics import paired_difference, t_interval
from fedlm.system.figures_json import plain

FORMAT = 3
_STATISTICS = ". Figures are over held-out text"
_BETTER = {True: "lower", False: "higher", None: "neither"}


def current_format(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of a study.json in the current format, in which it is returned unchanged.

    Warns once (FutureWarning) if the format is older. Such a study declared no primary contrast, so it has no verdict.
    """
    if content.get("format", 1) >= FORMAT:
        return dict(content)
    warnings.warn(
        "This study was made by an earlier version: the next one will not read it.", FutureWarning, stacklevel=3
    )
    named = content if content.get("format", 1) == 2 else _named(content)
    words = "This study was made by a version without primary contrasts; its figures are descriptive."
    return {
        **named,
        "format": FORMAT,
        "answer": words,
        "answers": [words],
        "contrasts": [],
        "method": f"{named['method'].partition(_STATISTICS)[0]}.",  # what followed told of brackets that are gone
        "declared_seeds": None,
        "table": [_row(row, named) for row in named["table"]],
    }


def _named(content: Mapping[str, Any]) -> dict[str, Any]:
    """Format 2 from format 1, whose labels hold their units."""
    data = dict.fromkeys(k for row in content["data"] for k in row if k != "condition")
    return {
        **content,
        "defaults": content.get("defaults", {}),
        "columns": [_column(c) for c in content["columns"]],
        "further": [_column(c) for c in content.get("further", [])],
        "data_columns": [_described(name) for name in data],
        "figures": [_figure(f) for f in content["figures"]],
    }


def _column(old: Mapping[str, Any]) -> dict[str, Any]:
    return {"metric": old["metric"], "label": old["label"], "unit": "", "better": _BETTER[old["less"]]}


def _described(name: str) -> dict[str, Any]:
    metric = find_metric(name)
    return {"metric": name, "label": metric.label, "unit": metric.unit, "better": metric.better.value}


def _figure(old: Mapping[str, Any]) -> dict[str, Any]:
    metric = _column({"metric": old["metric"], "label": old["label"], "less": old["less"][0]})
    if not old["against"]:
        return {"kind": old["kind"], "metric": metric}
    against = _column({"metric": old["against"], "label": old["against_label"], "less": old["less"][1]})
    return {"kind": old["kind"], "metric": metric, "against": against}


def _row(row: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the table with intervals from the runs."""
    control = None if row["control"] else _control(row, content)
    return {**row, "cells": {m: _cell(m, cell, row, control, content["runs"]) for m, cell in row["cells"].items()}}


def _control(row: Mapping[str, Any], content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The row with which one is compared: of the same condition, else of the same algorithm, else the first control."""
    controls = [each for each in content["table"] if each["control"]]
    same = [c for c in controls if c["condition"] == row["condition"]]
    same += [c for c in controls if c["algorithm"] == row["algorithm"]]
    return next(iter([*same, *controls]), None)


def _cell(
    metric: str,
    old: Mapping[str, Any],
    row: Mapping[str, Any],
    control: Mapping[str, Any] | None,
    runs: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """A cell with t-intervals; means whose runs are not in the file have none."""
    own, other = _by_seed(metric, row, runs), _by_seed(metric, control, runs) if control else {}
    gone = {"low": None, "high": None}
    if len(own) == old["count"]:
        cell = {**asdict(t_interval(list(own.values()))), "clients": 0}
    else:
        cell = {"mean": old["mean"], **gone, "count": old["count"], "clients": 0}
    seeds = sorted(own.keys() & other.keys())
    if "difference" in old and len(seeds) == old["difference"]["count"]:
        found = paired_difference([own[s] for s in seeds], [other[s] for s in seeds])
        cell["difference"] = {**asdict(found.interval), "hedges_g": found.hedges_g}
    elif "difference" in old:
        cell["difference"] = {**{k: old["difference"][k] for k in ("mean", "count")}, **gone, "hedges_g": None}
    known: dict[str, Any] = plain(cell)
    return known


def _by_seed(metric: str, row: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    own = [r for r in runs if (r["condition"], r["algorithm"]) == (row["condition"], row["algorithm"])]
    return {r["seed"]: r["figures"][metric] for r in own if r["figures"].get(metric) is not None}
