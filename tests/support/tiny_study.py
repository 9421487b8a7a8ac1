"""Studies cut down to seconds, and an engine over the worker processes that all tests share."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Self

from scenarios.runner.design import Case, Contrast, Design
from scenarios.runner.engines import LocalEngine
from server.engines.local import take_identity
from tests.support.running import WORKERS

TINY: dict[str, object] = {
    "scrub": "none",
    "model": "lstm(units=8, layers=1)",
    "rounds": 2,
    "cohort_size": 3,
    "eval_every": 2,
}
_SMALL: dict[str, object] = {"model": TINY["model"], "rounds": 1, "eval_every": 1, "local_epochs": 1}
_LESS_TEXT = {"messages": 4, "characters": 600}  # options of corpora and partitions


class SharedEngine(LocalEngine):
    """The local engine over the tests' workers: TensorFlow is loaded once for all studies."""

    def __enter__(self) -> Self:
        take_identity()
        self._workers = WORKERS
        self._pool = self._open.enter_context(ThreadPoolExecutor(self.cores))
        return self


def tiny(study: Design) -> Design:
    """Returns a study of the last case and its control, with one round of a model of eight units on less text."""
    last = study.cases[-1]
    cases = tuple(_less(case, study) for case in (study.control_of(last) or study.cases[0], last))
    first, second = cases
    contrast = Contrast(study.table[0], second.condition, first.condition, second.algorithm, first.algorithm)
    corpus, settings = _shortened(study.corpus), study.settings | _SMALL
    return replace(study, cases=cases, contrasts=(contrast,), corpus=corpus, settings=settings, client_symbols=20)


def _less(case: Case, study: Design) -> Case:
    settings = {k: _shortened(v) if isinstance(v, str) else v for k, v in case.settings.items()}
    settings |= {k: v for k, v in _SMALL.items() if k in settings}
    if "max_clients" in settings and not study.group:  # else a group may have one client
        settings["max_clients"] = 6
    return replace(case, settings=settings, corpus=_shortened(case.corpus))


def _shortened(spec: str) -> str:
    if "gini=0.0" in spec:  # uneven clients need many documents
        spec = re.sub(r"\bdocuments=\d+", "documents=60", spec)
    for option, value in _LESS_TEXT.items():
        spec = re.sub(rf"\b{option}=\d+", f"{option}={value}", spec)
    return spec
