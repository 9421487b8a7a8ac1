"""A study of two conditions, and results made up for it."""

import json
import math
from collections.abc import Sequence
from typing import Any, cast

from fedlm.system.figures_json import to_json
from scenarios.runner.output import Ended, study_content
from scenarios.runner.record import RunRecord
from scenarios.runner.study import Case, Figure, Study
from tests.support.tiny_study import TINY


def made(**more: Any) -> Study:
    """Returns a study; `more` replaces what it declares."""
    declared: dict[str, Any] = {
        "name": "made",
        "question": "Why?",
        "corpus": "shakespeare",
        "settings": TINY,
        "cases": (Case("even"), Case("skewed")),
        "control": "even",
        "table": ("bits_per_char",),
        "figures": (Figure("line", "bits_per_char"),),
    }
    return Study(**(declared | more))


def record(case: Case, seed: int, /, **figures: float) -> RunRecord:
    """Returns the result of a run with these figures, and four clients."""
    bits = figures.get("bits_per_char", math.nan)
    clients = tuple(
        {"client": c, "group": "", "bits_per_char": bits, "equal_bits_per_char": bits + c / 10} for c in range(4)
    )
    return RunRecord("key", case.condition, case.algorithm, case.x, seed, "folder", 1.0, "sha", figures, {}, clients)


def content_of(records: Sequence[RunRecord], **more: Any) -> dict[str, Any]:
    """Returns the content of study.json for these results; `more` replaces what the study declares."""
    study = made(**more)
    seeds = sorted({record.seed for record in records})
    content: dict[str, Any] = study_content(Ended(study, seeds, records, {}, "fedlm study made", 1.0))
    return cast("dict[str, Any]", json.loads(to_json(content)))
