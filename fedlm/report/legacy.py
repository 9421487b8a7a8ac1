"""Study folders of the version before: study.json of format 1, which had no `format`. Read for one version."""

import warnings
from collections.abc import Mapping
from typing import Any

from fedlm.measure.registry import find_metric

_BETTER = {True: "lower", False: "higher", None: "neither"}


def current_format(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of a study.json in the current format; format 2 is returned unchanged.

    Warns once (FutureWarning) if the format is 1. Its labels hold their units; its word for a difference whose interval
    excludes 0 was `clear`.
    """
    if content.get("format", 1) >= 2:
        return dict(content)
    warnings.warn(
        "This study was made by an earlier version: the next one will not read it.", FutureWarning, stacklevel=3
    )
    data = dict.fromkeys(k for row in content["data"] for k in row if k != "condition")
    return {
        **content,
        "format": 2,
        "answers": [content["answer"]],
        "defaults": content.get("defaults", {}),
        "columns": [_column(c) for c in content["columns"]],
        "further": [_column(c) for c in content.get("further", [])],
        "data_columns": [_described(name) for name in data],
        "figures": [_figure(f) for f in content["figures"]],
        "table": [{**row, "cells": {m: _cell(c) for m, c in row["cells"].items()}} for row in content["table"]],
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


def _cell(old: Mapping[str, Any]) -> dict[str, Any]:
    if "difference" not in old:
        return dict(old)
    difference = dict(old["difference"])
    return {**old, "difference": difference | {"excludes_zero": difference.pop("clear"), "same_sign": None}}
