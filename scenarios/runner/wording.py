"""The sentences of a study's report: the answer, and the method as a paper would state it."""

import math
from collections.abc import Sequence
from typing import Any

from fedlm.config import RunConfig
from fedlm.measure.metric import Better, Metric
from fedlm.measure.registry import find_metric
from fedlm.measure.statistics import RESAMPLES, is_range
from scenarios.runner.design import Design
from scenarios.runner.table import FEWEST_SEEDS, Difference, Row

_LOCAL_CHOICES = {"seed", "workers", "timeout"}  # of the user, not of the study


def answers(study: Design, rows: Sequence[Row]) -> list[str]:
    """Returns the answer in sentences: the largest differences of the table's first two metrics, for each line of the figure.

    A line is an algorithm over conditions, or, with a baseline algorithm, a condition over algorithms.
    """
    centralised = {c.name for c in study.cases if c.centralised}
    federated = [r for r in rows if (r.condition, r.algorithm) not in centralised]
    sentences = []
    for name in study.table[:2]:
        metric = find_metric(name, study.metrics)
        largest: dict[str, tuple[Row, Difference]] = {}
        for row in federated:
            line = row.condition if study.baseline else row.algorithm
            difference = row.cells[name].difference if name in row.cells else None
            if difference and (line not in largest or abs(difference.mean) > abs(largest[line][1].mean)):
                largest[line] = row, difference
        sentences += [_sentence(study, metric, row, found) for row, found in largest.values()]
    return sentences or ["No condition could be compared with the control; see the runs that failed."]


def _sentence(study: Design, metric: Metric, row: Row, difference: Difference) -> str:
    mean = row.cells[metric.name].mean
    levels = f"{mean:.3f} against {mean - difference.mean:.3f} with {study.baseline or study.control}"
    words = f"{row.condition}, {row.algorithm}: {metric.title} {levels}, the largest difference ({difference.mean:+.3f}"
    if difference.count < FEWEST_SEEDS:
        seeds = f"{_count(difference.count, 'seed')} {'is' if difference.count == 1 else 'are'} too few to decide"
        return f"{words}); {seeds}."
    name = "range over seeds" if is_range(difference.count) else "95 % bootstrap interval"
    words += f", {name} {difference.low:+.3f} to {difference.high:+.3f}, d = {_signed(difference.effect_size)})"
    if not difference.excludes_zero:
        return f"{words}; not decided by {difference.count} seeds."
    return f"{words}; {_verdict(metric, difference.mean)} in {difference.same_sign} of {difference.count} seeds."


def _verdict(metric: Metric, change: float) -> str:
    if metric.better is Better.NEITHER:
        return "higher" if change > 0 else "lower"
    return "worse" if (change > 0) == (metric.better is Better.LOWER) else "better"


def _signed(value: float) -> str:
    return f"{value:+.1f}" if math.isfinite(value) else "infinite"


def defaults(study: Design) -> dict[str, Any]:
    """Returns the configuration that no run of the study changes or sets: the defaults under which it was done."""
    changed = {k for case in study.cases for k in case.settings} | set(study.settings) | _LOCAL_CHOICES
    return {k: v for k, v in RunConfig.checked({}).model_dump().items() if k not in changed}


def method(study: Design, seeds: Sequence[int], failed: int) -> str:
    """Returns the method in one paragraph."""
    return f"{_training(study)} {_runs(study, seeds, failed)} {_statistics(len(seeds))}"


def _training(study: Design) -> str:
    """How each run is trained; what the cases vary is called so."""
    varied = {k for case in study.cases for k in case.settings}
    common = RunConfig.checked({**study.settings, **study.cases[0].settings}).model_dump()
    say = {k: "a varied number of" if k in varied else v for k, v in common.items()}
    named = {k: "varied" if k in varied else v for k, v in common.items()}
    corpus = "the corpora of the design table" if any(c.corpus for c in study.cases) else study.corpus
    epochs = "epoch" if say["local_epochs"] == 1 else "epochs"
    return (
        f"We trained {_word(varied, 'model', common, 'the models of the design table')} on {corpus} "
        f"(vocabulary {named['vocabulary']}, windows of {named['seq_len']} tokens, scrubbing {named['scrub']}) for "
        f"{say['rounds']} rounds of {say['cohort_size']} clients. Each client trained {say['local_epochs']} local {epochs} "
        f"with {_word(varied, 'client_optimizer', common, 'the optimizer of the design table')} at batch size "
        f"{named['batch_size']}."
    )


def _word(varied: set[str], key: str, values: dict[str, Any], otherwise: str) -> str:
    return otherwise if key in varied else str(values[key])


def _runs(study: Design, seeds: Sequence[int], failed: int) -> str:
    conditions = _count(len(dict.fromkeys(c.condition for c in study.cases)), "condition")
    algorithms = _count(len(dict.fromkeys(c.algorithm for c in study.cases)), "algorithm")
    return (
        f"There are {conditions} and {algorithms}, with {_count(len(seeds), 'seed')} each "
        f"({len(study.cases) * len(seeds)} runs, {failed} failed). A seed sets the data split, the initial weights and the "
        "client sampling."
    )


def _statistics(seeds: int) -> str:
    spread = (
        f"Brackets are the range over {_count(seeds, 'seed')}, from the smallest to the largest"
        if is_range(seeds)
        else f"Brackets are percentile bootstrap 95 % intervals over {seeds} seeds ({RESAMPLES:,} resamples)"
    )
    return (
        f"Figures are over held-out text: sums over tokens first, ratios last. {spread}. Differences from the control are "
        "paired by seed; d is Cohen's d of the pairs. A difference is marked where its interval excludes 0 and there are at "
        f"least {FEWEST_SEEDS} seeds; this is a description of these seeds and not a significance test. Intervals over the "
        "clients of a run (whole clients resampled) are in study.json."
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
