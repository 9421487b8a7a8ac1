"""The ledger's releases as events of Google's dp-accounting, for other accountants.

The events are those of the continuous Gaussians that bound the noise (`discrete.py`). What no event states is beside them
(a vocabulary's threshold, and the step to the continuous Gaussian): compute epsilon at `delta - delta_added`, and add
`epsilon_added` to it.
"""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from fedlm.privacy.accounting import Release
from fedlm.privacy.discrete import LOG_RATIO


def dp_event(releases: Iterable[Release]) -> Any:
    """Returns the composition of all releases as a `dp_accounting.DpEvent`."""
    import dp_accounting as dp

    return _built(_event(list(releases)), dp)


def events(releases: Iterable[Release]) -> dict[str, Any]:
    """Returns the event as JSON: the names and fields of dp-accounting's classes, and what no event states."""
    charged = [r for r in releases if r.compositions]
    tau = LOG_RATIO * sum(r.compositions for r in charged)
    return {
        "event": _event(charged),
        "delta_added": sum(r.delta for r in charged),
        "epsilon_added": 2 * tau,  # for the step from the discrete Gaussian to the continuous one
    }


def _event(releases: list[Release]) -> dict[str, Any]:
    counts = Counter[tuple[tuple[float, ...], float]]()
    for release in releases:
        counts[release.continuous()] += release.compositions
    composed = [
        {"class": "SelfComposedDpEvent", "event": _release(*key), "count": n} for key, n in sorted(counts.items()) if n
    ]
    return {"class": "ComposedDpEvent", "events": composed}


def _release(multipliers: tuple[float, ...], rate: float) -> dict[str, Any]:
    # Gaussians of one sample are one Gaussian, 1/z^2 = sum of 1/z_i^2; PLD accountants take no composition inside a sample.
    z = 1 / math.hypot(*(1 / z for z in multipliers)) if all(multipliers) else 0.0
    gaussian = {"class": "GaussianDpEvent", "noise_multiplier": z}
    return (
        gaussian if rate == 1 else {"class": "PoissonSampledDpEvent", "sampling_probability": rate, "event": gaussian}
    )


def _built(value: Any, module: Any) -> Any:
    """Returns an event of `module` from its JSON."""
    if isinstance(value, list):
        return [_built(v, module) for v in value]
    if not isinstance(value, dict):
        return value
    return getattr(module, value["class"])(**{k: _built(v, module) for k, v in value.items() if k != "class"})
