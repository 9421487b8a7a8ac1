"""The measures of this folder, found by their files; nothing outside the folder lists them."""

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from fedlm.measure.metric import Measure, Metric


@cache
def _files() -> tuple[ModuleType, ...]:
    """The files of this folder that declare METRICS, in alphabetical order."""
    names = sorted(p.stem for p in Path(__file__).parent.glob("*.py"))
    return tuple(m for m in (import_module(f"fedlm.measure.{n}") for n in names) if hasattr(m, "METRICS"))


def run_measures() -> tuple[Measure, ...]:
    """Returns the measures that every run of a study gets."""
    return tuple(Measure(m.METRICS, m.figures) for m in _files() if hasattr(m, "figures"))


def known_metrics(own: Iterable[Metric] = ()) -> dict[str, Metric]:
    """Returns all metrics by name: a study's own ones, then those of this folder."""
    folder = [metric for module in _files() for metric in module.METRICS]
    return {metric.name: metric for metric in [*folder, *own]}


def find_metric(name: str, own: Iterable[Metric] = ()) -> Metric:
    """Returns the metric of a name, or of a member of a family; one without a declaration is labelled by its name.

    >>> find_metric("group:b").label
    'loss of group b'
    """
    known = known_metrics(own)
    family, colon, member = name.partition(":")
    if name not in known and colon and f"{family}:" in known:
        found = known[f"{family}:"]
        return Metric(name, found.label.format(member), found.unit, found.better, found.describes_data)
    return known.get(name, Metric(name, name))
