"""From results of runs to a table, an answer in words and the method's sentence; every word about a figure comes from it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fedlm.config import RunConfig
from fedlm.measure.statistics import bootstrap_mean, paired_difference
from scenarios.runner.outcome import ENTROPY, GROUP, HETEROGENEITY
from scenarios.runner.study import METRICS, Case, Study

Result = Mapping[str, Any]
FEWEST_SEEDS = 3  # below it, no statement about an effect is made
_TEXT_AND_MODEL = (
    "partition",
    "scrub",
    "max_clients",
    "min_documents",
    "holdout_fraction",
    "vocabulary",
    "model",
    "seq_len",
)


def label_of(metric: str) -> str:
    """Returns what a metric is called."""
    if metric.startswith(GROUP):
        return f"bits per character, group {metric.removeprefix(GROUP)}"
    return METRICS[metric][0] if metric in METRICS else metric


def _values(results: Sequence[Result], case: Case, metric: str) -> dict[int, float]:
    """A metric of each seed of a case; runs without it are left out."""
    found = {}
    for r in results:
        if (r["condition"], r["algorithm"]) == (case.condition, case.algorithm):
            value = r["figures"].get(metric)
            if value is not None and math.isfinite(value):
                found[int(r["seed"])] = float(value)
    return found


def _control(study: Study, case: Case) -> Case | None:
    """The case that another is compared with: the baseline algorithm in its condition, or the control condition under its
    algorithm (under the first one that has it, if its own has not)."""
    if study.baseline:
        controls = [c for c in study.cases if (c.condition, c.algorithm) == (case.condition, study.baseline)]
    else:
        controls = [c for c in study.cases if c.condition == study.control]
    same = [c for c in controls if c.algorithm == case.algorithm]
    found = next(iter([*same, *controls]), None)
    return None if found is case else found


def table(study: Study, results: Sequence[Result]) -> list[dict[str, Any]]:
    """Returns a row per case: each metric's mean with its interval over seeds, and its difference to the control."""
    rows = []
    metrics = [*study.table, *(m for f in study.figures for m in (f.metric, f.against) if m), *further(study, results)]
    for case in study.cases:
        cells: dict[str, Any] = {}
        for metric in dict.fromkeys(metrics):
            own = _values(results, case, metric)
            if not own:
                continue
            cell: dict[str, Any] = asdict(bootstrap_mean(list(own.values())))
            control = _control(study, case)
            other = _values(results, control, metric) if control else {}
            seeds = sorted(own.keys() & other.keys())
            if seeds:
                difference = paired_difference([own[s] for s in seeds], [other[s] for s in seeds])
                cell["difference"] = {
                    **asdict(difference.interval),
                    "effect_size": difference.effect_size,
                    "clear": difference.is_clear and len(seeds) >= FEWEST_SEEDS,
                }
            cells[metric] = cell
        if cells:
            name = {"condition": case.condition, "algorithm": case.algorithm, "x": case.x}
            rows.append({**name, "control": _control(study, case) is None, "cells": cells})
    return rows


def further(study: Study, results: Sequence[Result]) -> list[str]:
    """Returns the metrics that the runs have besides the table's: of METRICS, then one for each group."""
    found = {m for r in results for m in r["figures"]}
    known = [m for m in METRICS if m in found and m not in (*study.table, *HETEROGENEITY)]
    return known + sorted(m for m in found if m.startswith(GROUP))


def with_central_gap(study: Study, results: Sequence[Result]) -> list[dict[str, Any]]:
    """Returns the results with `central_gap`, bits per character above the ceiling: the pooled run of the same seed whose
    text and model are the same. Runs without such a one have none."""
    ceilings = {_same(study, c): c for c in study.cases if c.pooled}
    own = {(c.condition, c.algorithm): ceilings.get(_same(study, c)) for c in study.cases if not c.pooled}
    found = []
    for r in results:
        ceiling = own.get((r["condition"], r["algorithm"]))
        reached = _values(results, ceiling, "bits_per_char") if ceiling else {}
        bits = r["figures"].get("bits_per_char")
        more = {"central_gap": bits - reached[r["seed"]]} if bits is not None and r["seed"] in reached else {}
        found.append({**r, "figures": {**r["figures"], **more}})
    return found


def _same(study: Study, case: Case) -> tuple[object, ...]:
    """What two runs must share to be compared client by client."""
    settings = {**study.settings, **case.settings}
    return (case.corpus or study.corpus, *(settings.get(k) for k in _TEXT_AND_MODEL))


def data_table(study: Study, results: Sequence[Result]) -> list[dict[str, Any]]:
    """Returns a row per condition: the data's heterogeneity before training, means over seeds."""
    names = [*HETEROGENEITY]
    names += sorted({m for r in results for m in r["figures"] if m.startswith(ENTROPY)})
    rows = {}
    for case in study.cases:
        values = {n: list(_values(results, case, n).values()) for n in names}
        if case.condition not in rows and values["clients"]:
            rows[case.condition] = {n: sum(v) / len(v) for n, v in values.items() if v}
    return [{"condition": condition, **row} for condition, row in rows.items()]


def answer(study: Study, rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns the answer in words: the largest differences of the table's first two metrics, line by line of the figure.

    A line is an algorithm over conditions, or, with a baseline algorithm, a condition over algorithms.
    """
    pooled = {(c.condition, c.algorithm) for c in study.cases if c.pooled}
    along = "condition" if study.baseline else "algorithm"
    rows = [r for r in rows if (r["condition"], r["algorithm"]) not in pooled]
    sentences = []
    for metric in study.table[:2]:
        for line in dict.fromkeys(r[along] for r in rows):
            treated = [r for r in rows if r[along] == line and "difference" in r["cells"].get(metric, {})]
            if treated:
                far = max(treated, key=lambda r: abs(r["cells"][metric]["difference"]["mean"]))
                sentences.append(_sentence(study, metric, far))
    return " ".join(sentences) or "No condition could be compared with the control; see the runs that failed."


def _sentence(study: Study, metric: str, row: Mapping[str, Any]) -> str:
    cell = row["cells"][metric]
    difference = cell["difference"]
    label, less = METRICS.get(metric, (metric, None))
    count, change = difference["count"], difference["mean"]
    words = (
        f"{row['condition']}, {row['algorithm']}: {label} {cell['mean']:.3f} against {cell['mean'] - change:.3f} with "
    )
    words += f"{study.baseline or study.control}, the largest difference ({change:+.3f}"
    if count < FEWEST_SEEDS:
        return f"{words}); {count} seed{'s are' if count > 1 else ' is'} too few to tell it from chance."
    words += f", 95 % interval {difference['low']:+.3f} to {difference['high']:+.3f}, d = {_number(difference['effect_size'])})"
    if not difference["clear"]:
        return f"{words}; {count} seeds do not tell it from chance."
    verdict = "different" if less is None else "worse" if (change > 0) == less else "better"
    return f"{words}; clearly {verdict} over {count} seeds."


def _number(value: float) -> str:
    return f"{value:+.1f}" if math.isfinite(value) else "infinite"


def defaults(study: Study) -> dict[str, Any]:
    """Returns the configuration that no run of the study changes or sets: the defaults that it was done with."""
    changed = {k for case in study.cases for k in case.settings} | set(study.settings)
    return {
        k: v for k, v in RunConfig.checked({}).model_dump().items() if k not in changed | {"seed", "workers", "timeout"}
    }


def method(study: Study, seeds: Sequence[int], failed: int) -> str:
    """Returns the method in one paragraph, as a paper would say it."""
    varied = {k for case in study.cases for k in case.settings}
    common = RunConfig.checked({**study.settings, **study.cases[0].settings}).model_dump()  # one that is whole
    say = {k: "varied" if k in varied else v for k, v in common.items()}
    conditions = len(dict.fromkeys(c.condition for c in study.cases))
    algorithms = len(dict.fromkeys(c.algorithm for c in study.cases))
    corpus = "corpora of the design table" if any(c.corpus for c in study.cases) else study.corpus
    local = (
        f"{say['local_epochs']} local epochs"
        if "local_epochs" in varied
        else f"{say['local_epochs']} local epoch{'s' * (say['local_epochs'] != 1)}"
    )
    return (
        f"We trained {say['model']} on {corpus} ({say['vocabulary']}, windows of {say['seq_len']}; scrubbing: "
        f"{say['scrub']}) for {say['rounds']} rounds of {say['cohort_size']} clients, each with {local} of "
        f"{say['client_optimizer']} at batch size {say['batch_size']}, under {_count(conditions, 'condition')} and "
        f"{_count(algorithms, 'algorithm')}, with {_count(len(seeds), 'seed')} each "
        f"({len(study.cases) * len(seeds)} runs, {failed} failed). A seed sets the data split, the initial weights and the "
        "cohorts. Figures are over held-out text: sums over tokens first, ratios last. Means carry percentile bootstrap "
        "95 % intervals over seeds (2,000 draws); differences to the control are paired by seed, d is Cohen's d of the "
        f"pairs; a difference is called clear if its interval excludes 0 and there are at least {FEWEST_SEEDS} seeds. "
        "Intervals over clients within a run (whole clients drawn anew) stand in study.json."
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
