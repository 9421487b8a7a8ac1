"""Figures as JSON. JSON has no NaN and no infinity, so an undefined figure is null."""

import json
import math
from collections.abc import Mapping
from typing import Any

_FIGURES = ("final", "eval", "train_loss")  # null elsewhere has a meaning of its own, such as an epsilon without bound


def to_json(content: Any, indent: int | None = None) -> str:
    """Returns JSON that every reader accepts.

    >>> to_json({"accuracy": float("nan"), "rounds": (1, 2)})
    '{"accuracy": null, "rounds": [1, 2]}'
    """
    return json.dumps(plain(content), indent=indent, allow_nan=False)


def plain(value: Any) -> Any:
    """Returns a value for JSON: lists for tuples, null for NaN and infinity.

    >>> plain({"a": (1, float("nan"))})
    {'a': [1, None]}
    """
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def figures_of(text: str) -> dict[str, Any]:
    """Returns the content of a summary.json or of a line of metrics.jsonl, with NaN for figures that are undefined.

    Raises:
      json.JSONDecodeError: the text is not JSON.

    >>> figures_of('{"epsilon": null, "final": {"accuracy": null}}')
    {'epsilon': None, 'final': {'accuracy': nan}}
    """
    found: dict[str, Any] = json.loads(text)
    return {k: _with_nan(v) if k in _FIGURES else v for k, v in found.items()}


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _with_nan(v) for k, v in value.items()}
    return math.nan if value is None else value
