"""The sentences of a study's report: the answer, and the method as a paper would state it."""

from collections.abc import Sequence
from typing import Any

from fedlm.config import RunConfig
from fedlm.measure.bootstrap import RESAMPLES
from fedlm.measure.contrasts import EXACT_PAIRS, RANDOM_FLIPS, seeds_needed
from fedlm.measure.groups import minority_groups
from fedlm.measure.registry import find_metric
from fedlm.measure.statistics import LEVEL
from scenarios.runner.design import Design
from scenarios.runner.job import BASE
from scenarios.runner.primary import Primary, sentence
from scenarios.runner.record import RunRecord
from scenarios.runner.table import Row, deals_anew

_LOCAL_CHOICES = {"seed", "workers", "timeout"}  # of the user, not of the study


def answers(study: Design, found: Sequence[Primary], rows: Sequence[Row]) -> list[str]:
    """Returns the answer in sentences: one for each primary contrast, and nothing about any other difference."""
    sentences = [sentence(each) for each in found]
    if not found and study.paper is None:
        sentences = ["The study declares no primary contrast, so it answers nothing; its figures are descriptive."]
    return sentences + _undefined(study, rows)


def _undefined(study: Design, rows: Sequence[Row]) -> list[str]:
    """A sentence for each metric of the table that no run defines, such as the loss of a minority without groups."""
    names = [name for name in study.table if rows and not any(name in row.cells for row in rows)]
    return [f"No run defines {find_metric(name, study.metrics).title}." for name in names]


def defaults(study: Design) -> dict[str, Any]:
    """Returns the configuration that no run of the study changes or sets: the defaults under which it was done."""
    changed = {k for case in study.cases for k in case.settings} | set(study.settings) | _LOCAL_CHOICES
    return {k: v for k, v in RunConfig.checked(dict(BASE)).model_dump().items() if k not in changed}


def method(study: Design, seeds: Sequence[int], failed: int) -> str:
    """Returns the method in one paragraph."""
    return f"{_training(study)} {_runs(study, seeds, failed)} {_statistics(study)}"


def minority_named(records: Sequence[RunRecord]) -> str:
    """Returns a sentence that names the minority: the one group whose loss is the minority's in every run; or nothing."""
    own = [groups for r in records if (groups := minority_groups(r.figures))]
    common = set.intersection(*own) if own else set[str]()
    return f" The minority is the group {common.pop()}." if len(common) == 1 else ""


def _training(study: Design) -> str:
    """How each federated run is trained; what differs between the cases is said to be varied."""
    cases = [case for case in study.cases if not case.centralised] or list(study.cases)
    settings = [RunConfig.checked({**BASE, **study.settings, **case.settings}).model_dump() for case in cases]
    corpora = list(dict.fromkeys(case.corpus or study.corpus for case in study.cases))

    def say(key: str, fixed: str, varied: str) -> str:
        values = list(dict.fromkeys(str(each[key]) for each in settings))
        return varied if len(values) > 1 else fixed.format(values[0])

    def count(key: str, word: str) -> str:
        ending = "" if all(each[key] == 1 for each in settings) else "s"
        return say(key, f"{{}} {word}{ending}", f"a varied number of {word}s")

    corpus = corpora[0] if len(corpora) == 1 else "the corpora of the design table"
    text = (
        f"{say('vocabulary', 'vocabulary {}', 'varied vocabularies')}, "
        f"{say('seq_len', 'windows of {} tokens', 'windows of varied lengths')}, "
        f"{say('scrub', 'scrubbing {}', 'varied scrubbing')}"
    )
    with_steps = {bool(each["local_steps"]) for each in settings}
    if with_steps == {True}:
        work = f"{count('local_steps', 'step')} a round, whatever its amount of text,"
    else:
        work = (
            "the steps or epochs of the design table" if len(with_steps) > 1 else count("local_epochs", "local epoch")
        )
    return (
        f"We trained {say('model', '{}', 'the models of the design table')} on {corpus} ({text}) for "
        f"{count('rounds', 'round')} of {count('cohort_size', 'client')}. Each client trained {work} with "
        f"{say('client_optimizer', '{}', 'the optimizer of the design table')} "
        f"at {say('batch_size', 'batch size {}', 'a varied batch size')}. "
        f"{_validation({each['validation_fraction'] for each in settings})}"
    )


def _validation(fractions: set[float]) -> str:
    """Which text evaluation during training reads."""
    if 0 in fractions:
        some = "There is no validation text:" if len(fractions) == 1 else "Some runs have no validation text: there"
        return f"{some} evaluation during training, and what it steers, reads the held-out text of the final figures."
    share = f"the last {100 * min(fractions):g} %" if len(fractions) == 1 else "a varied share"
    return (
        f"Evaluation during training (learning curves, early stopping, sampling by loss) reads {share} of "
        "each client's documents before the held-out ones; held-out text is read once, at the end."
    )


def _runs(study: Design, seeds: Sequence[int], failed: int) -> str:
    conditions = _count(len(dict.fromkeys(c.condition for c in study.cases)), "condition")
    algorithms = _count(len(dict.fromkeys(c.algorithm for c in study.cases)), "algorithm")
    return (
        f"There are {_count(len(study.cases), 'case')} ({conditions}, {algorithms}), each with {_count(len(seeds), 'seed')} "
        f"({len(study.cases) * len(seeds)} runs, {failed} failed){_fewer(study, len(seeds))}. A seed sets the data split, the "
        f"initial weights and the client sampling{_unpaired(study)}."
    )


def _fewer(study: Design, seeds: int) -> str:
    return "" if seeds == study.seeds else f"; the study declares {study.seeds}"


def _unpaired(study: Design) -> str:
    """What a seed does not set: under differential privacy the cohort key and the noise are the operating system's."""
    privacy = [RunConfig.checked({**study.settings, **case.settings}).privacy for case in study.cases]
    private = [p for p in privacy if p.traits.private and not p.reproducible]
    return ", except under differential privacy, where cohorts and noise are drawn anew in every run" * bool(private)


def _statistics(study: Design) -> str:
    return (
        f"Figures are over held-out text: sums over tokens first, ratios last. {_decided(study)}All other figures are "
        f"descriptive: brackets are {INTERVALS}; differences from the control are paired by seed, with Hedges' g of the pairs. "
        "Figures over clients have the percentile interval of a two-level bootstrap "
        f"({RESAMPLES:,} resamples of seeds and of clients: {_levels(study)}). "
        "Intervals over the clients of one run (whole clients resampled) are in study.json."
    )


INTERVALS = "Student's 95 % t-intervals over seeds"


def _decided(study: Design) -> str:
    """How the primary contrasts are decided; empty without any."""
    number = len(study.contrasts)
    if not number:
        return ""
    flips = f"an exact sign-flip test (all flips up to {EXACT_PAIRS} seeds, {RANDOM_FLIPS:,} random ones beyond)"
    corrected = ", each corrected by Holm's method," if number > 1 else ""
    return (
        f"{_count(number, 'primary contrast')} {'was' if number == 1 else 'were'} declared; a verdict rests on {flips} and on "
        f"two one-sided t-tests within the metric's margin{corrected} at the level {LEVEL:g}. Below {seeds_needed(number)} "
        "seeds no contrast can be significant. "
    )


def _levels(study: Design) -> str:
    """Whose clients the bootstrap resamples within a seed."""
    kinds = {deals_anew(study, case) for case in study.cases}
    words = {
        True: "nested, because a seed deals new clients",
        False: "crossed, because all seeds have the same clients",
    }
    return words[kinds.pop()] if len(kinds) == 1 else "nested where a seed deals new clients, crossed otherwise"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
