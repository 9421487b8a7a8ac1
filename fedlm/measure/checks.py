"""Checks of what a measure returns: a misspelt name or a NaN would otherwise become an empty column of a study's table."""

import math
from collections.abc import Mapping
from numbers import Real

from fedlm.errors import FedLMError
from fedlm.measure.metric import Measure


def checked_figures(measure: Measure, found: object, *, complete: bool) -> dict[str, float]:
    """Returns the values of a measure as floats.

    Args:
      measure: whose values these are.
      found: what its `figures` returned for a run.
      complete: require a finite value for every metric that is not optional. True for a measure that a study names; the
        measures of this folder are applied to every run, and omit what it does not define.

    Raises:
      FedLMError: a name is not declared, a value is no number, or one is missing or not finite. The sentence names the
        measure and the metric, and quotes no value but a number.
    """
    where = f"The measure {_name(measure)}"
    if not isinstance(found, Mapping):
        raise FedLMError(f"{where} returned {type(found).__name__}; it must return its values by metric.")
    declared = ", ".join(metric.name for metric in measure.metrics) or "none"
    for name, value in found.items():
        if not _declares(measure, name):
            raise FedLMError(f"{where} returned {name!r}, which it does not declare; its metrics are: {declared}.")
        if not isinstance(value, Real):
            raise FedLMError(f"{where} returned {type(value).__name__} for {name!r}; a value must be a number.")
        if complete and not math.isfinite(value):
            raise FedLMError(f"{where} returned {float(value)} for {name!r}; a value must be finite.")
    required = (m.name for m in measure.metrics if not m.optional and not m.name.endswith(":"))
    if complete and (missing := [name for name in required if name not in found]):
        raise FedLMError(
            f"{where} returned no value for {', '.join(missing)}: return one for every run, or declare the metric with "
            "optional=True."
        )
    return {name: float(value) for name, value in found.items()}


def _declares(measure: Measure, name: object) -> bool:
    """Whether a name is a metric of the measure, or a member of one of its families (`group:b`)."""
    if not isinstance(name, str):
        return False
    families = tuple(m.name for m in measure.metrics if m.name.endswith(":"))
    names = {m.name for m in measure.metrics} - set(families)
    return name in names or (name.startswith(families) and name not in families)


def _name(measure: Measure) -> str:
    figures = measure.figures
    return f"{figures.__module__}.{getattr(figures, '__qualname__', type(figures).__name__)}"
