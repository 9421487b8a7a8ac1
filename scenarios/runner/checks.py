"""Checks of what a study declares, before its first run: a wrong name would cost hours and leave a column or a figure empty."""

import difflib
import inspect
import warnings
from collections.abc import Iterable, Mapping
from typing import get_args

from fedlm.errors import ConfigError
from fedlm.measure.metric import Metric
from fedlm.measure.registry import known_metrics
from fedlm.spec import parse_spec
from scenarios.runner.cohorts import RULES, build_sampling
from scenarios.runner.design import Case, Contrast, Design, Figure, Trend
from scenarios.runner.metrics import CLIENT_METRICS
from scenarios.runner.published import sides
from scenarios.runner.rounds import CURVES

_KINDS = get_args(inspect.get_annotations(Figure)["kind"])
MOST_CONTRASTS = 2  # more would need more seeds than studies have
_GIVEN = ("population", "server_round", "size")  # parameters of a sampling rule that are not its options


def check_design(study: Design, source: str) -> None:
    """Checks the names of a study: cases, control or baseline, metrics, figures, client sampling.

    Args:
      study: what is checked.
      source: the study's file or name, for the error.

    Raises:
      ConfigError: a name is unknown; the sentence lists the known ones.
    """
    names = [case.name for case in study.cases]
    if not names:
        raise ConfigError(f"The study {source} has no cases.")
    if len(set(names)) < len(names):
        raise ConfigError(f"The study {source} has two cases with the same condition and algorithm.")
    if study.baseline:
        _known(source, "baseline", study.baseline, (algorithm for _, algorithm in names), "algorithms")
    else:
        _known(source, "control", study.control, (condition for condition, _ in names), "conditions")
    _check_metrics(study, source)
    _check_contrasts(study, source)
    _check_paper(study, source)
    for case in study.cases:
        _check_sampling(case, source)


def _known(source: str, field: str, name: str, known: Iterable[str], what: str) -> None:
    found = dict.fromkeys(known)
    if name not in found:
        raise ConfigError(f"The study {source} names the {field} {name!r}; its {what} are: {', '.join(found)}.")


def _check_metrics(study: Design, source: str) -> None:
    folder = known_metrics()
    for metric in study.metrics:
        if folder.get(metric.name, metric) != metric:
            raise ConfigError(
                f"The study {source} declares a metric {metric.name!r}, which is one of fedlm: rename it."
            )
    if not study.table:
        raise ConfigError(f"The study {source} names no metric for its table.")
    known = known_metrics(study.metrics)
    for name in study.table:
        _check_metric(source, "the table", name, known)
    for figure in study.figures:
        _check_figure(figure, source, known)


def _check_contrasts(study: Design, source: str) -> None:
    """Refuses contrasts whose cases do not exist or are one and the same, and more of them than a study can decide."""
    if len(study.contrasts) > MOST_CONTRASTS:
        raise ConfigError(f"The study {source} has {len(study.contrasts)} primary contrasts; declare one or two.")
    if study.client_symbols < 2:
        raise ConfigError(f"The study {source} has client_symbols={study.client_symbols}; it needs two or more.")
    if study.test_clients < 0:
        raise ConfigError(f"The study {source} has test_clients={study.test_clients}; it must not be negative.")
    if study.test_clients and any(case.centralised for case in study.cases):
        raise ConfigError(
            f"The study {source} has test clients and a centralised case, which trains on every client: remove one of them."
        )
    if study.seeds < 1:
        raise ConfigError(f"The study {source} has {study.seeds} seeds; it needs one or more.")
    known = known_metrics(study.metrics)
    for metric in (*(c.metric for c in study.contrasts), *study.margins):
        _check_metric(source, "its primary contrasts or margins", metric, known)
    for metric, margin in study.margins.items():
        if not margin > 0:
            raise ConfigError(f"The margin of {metric!r} in the study {source} is {margin}; it must be above 0.")
    for contrast in study.contrasts:
        if isinstance(contrast, Trend):
            _check_trend(study, contrast, source)
        else:
            _check_sides(study, contrast, source)


def _check_paper(study: Design, source: str) -> None:
    """Refuses a published result beside which no figure could be put."""
    known = known_metrics(study.metrics)
    for row in study.paper.rows if study.paper else ():
        _check_metric(source, "its published results", row.metric, known)
        found = sides(study, row)
        if found[0] is None or (row.against and found[1] is None):
            words = " or ".join(filter(None, (row.condition, row.against)))
            raise ConfigError(f"A published result of the study {source} names no case of it: {words!r}.")


def _check_trend(study: Design, trend: Trend, source: str) -> None:
    placed = [x for x, _ in study.along(trend)]
    if len(set(placed)) < 2:
        raise ConfigError(
            f"The trend of {trend.metric!r} in the study {source} has {len(set(placed))} places on the axis; it needs two."
        )


def _check_sides(study: Design, contrast: Contrast, source: str) -> None:
    sides = study.sides(contrast)
    asked = (contrast.condition, contrast.algorithm), (contrast.against, contrast.against_algorithm)
    for side, (condition, algorithm) in zip(sides, asked, strict=True):
        if side is None:
            known = "; ".join(f"{c}, {a}" for c, a in (case.name for case in study.cases))
            words = f"{condition}, {algorithm}" if algorithm else condition
            raise ConfigError(f"A primary contrast of the study {source} names no case, {words!r}; known are: {known}.")
    if sides[0] is sides[1]:
        raise ConfigError(f"A primary contrast of the study {source} compares {contrast.condition!r} with itself.")


def _check_figure(figure: Figure, source: str, known: Mapping[str, Metric]) -> None:
    _known(source, "figure", figure.kind, _KINDS, "kinds of figures")
    if (figure.kind == "trade") != bool(figure.against):
        problem = "lacks `against`" if figure.kind == "trade" else "has `against`, which only a trade figure has"
        raise ConfigError(f"The {figure.kind} figure of {figure.metric!r} in the study {source} {problem}.")
    if figure.kind == "spread":  # drawn from single clients
        _known(source, "metric of a spread figure", figure.metric, CLIENT_METRICS, "metrics of single clients")
        return
    if figure.kind == "curve":
        _known(source, "metric of a curve figure", figure.metric, CURVES, "metrics of single rounds")
        return
    for name in filter(None, (figure.metric, figure.against)):
        _check_metric(source, "a figure", name, known)


def _check_metric(source: str, place: str, name: str, known: Mapping[str, Metric]) -> None:
    family, colon, member = name.partition(":")
    if name.endswith(":") or (name not in known and not (member and f"{family}{colon}" in known)):
        near = difflib.get_close_matches(name, known, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        listed = ", ".join(f"{n}NAME" if n.endswith(":") else n for n in known)
        raise ConfigError(f"The study {source} names an unknown metric {name!r} in {place}{hint}; known are: {listed}.")
    if name in known and known[name].replaced_by:
        warnings.warn(
            f"The metric {name!r} in {place} of the study {source} goes with the next version: name "
            f"{known[name].replaced_by!r}.",
            FutureWarning,
            stacklevel=2,
        )


def _check_sampling(case: Case, source: str) -> None:
    """Refuses a rule that does not exist, and options that it does not take."""
    if not case.sampling:
        return
    build_sampling(case.sampling)
    spec = parse_spec(case.sampling)
    rule = inspect.signature(RULES[spec.name])
    try:
        rule.bind(*_GIVEN, **spec.options)
    except TypeError:
        options = ", ".join(name for name in rule.parameters if name not in _GIVEN) or "none"
        raise ConfigError(
            f"The client sampling {case.sampling!r} of the study {source} does not fit; its options are: {options}."
        ) from None
