"""Learning-rate schedules: a factor for each round. It depends on the round alone, so that a resumed run keeps it.

`constant`, `step(every=50, factor=0.5)`, `exponential(factor=0.99)`, `linear(rounds=100, end=0.0)`,
`cosine(rounds=100, end=0.0)`. Each takes `warmup=N`, a linear rise over the first N rounds.
"""

import math

from fedlm.errors import ConfigError, UnknownOption
from fedlm.spec import parse_spec

_DEFAULTS: dict[str, dict[str, float]] = {
    "constant": {},
    "step": {"every": 50, "factor": 0.5},
    "exponential": {"factor": 0.99},
    "linear": {"rounds": 100, "end": 0.0},
    "cosine": {"rounds": 100, "end": 0.0},
}


def check_schedule(spec: str) -> None:
    """Checks a schedule's spec.

    Raises:
      ConfigError: there is no such schedule or option, or a value is out of range.
    """
    _parsed(spec)


def rate_factor(spec: str, server_round: int) -> float:
    """Returns the factor of the learning rate in a round; rounds count from 1.

    With t = round - 1 and s = min(t / rounds, 1): step factor^(t // every), exponential factor^t, linear and cosine
    end + (1 - end) d, where d is 1 - s or (1 + cos(pi s)) / 2 (Loshchilov and Hutter 2017, equation 5). In the warm-up the
    factor is multiplied by round / (warmup + 1).

    >>> [rate_factor("step(every=2, factor=0.1)", r) for r in (1, 2, 3, 5)]
    [1.0, 1.0, 0.1, 0.010000000000000002]
    >>> [rate_factor("linear(rounds=4)", r) for r in (1, 3, 5, 9)]
    [1.0, 0.5, 0.0, 0.0]
    """
    name, options = _parsed(spec)
    warmup, after = options.pop("warmup", 0), max(server_round - 1, 0)
    rise = min(1.0, server_round / (warmup + 1))
    if name == "step":
        return rise * math.pow(options["factor"], after // options["every"])
    if name == "exponential":
        return rise * math.pow(options["factor"], after)
    if name == "constant":
        return rise
    done = min(after / options["rounds"], 1.0)
    decay = 1 - done if name == "linear" else (1 + math.cos(math.pi * done)) / 2
    return rise * (options["end"] + (1 - options["end"]) * decay)


def _parsed(spec: str) -> tuple[str, dict[str, float]]:
    """Returns a schedule's name and all its options."""
    parsed = parse_spec(spec)
    if parsed.name not in _DEFAULTS:
        raise ConfigError(f"There is no schedule {parsed.name!r}: use {', '.join(_DEFAULTS)}.")
    known = {**_DEFAULTS[parsed.name], "warmup": 0}
    for name, value in parsed.options.items():
        if name not in known:
            raise UnknownOption(
                name, f"The schedule {parsed.name} has no option {name!r}; its options are: {', '.join(known)}."
            )
        lowest = 1 if name in ("every", "rounds") else 0
        if isinstance(value, bool) or not isinstance(value, int | float) or value < lowest:
            raise ConfigError(
                f"Invalid value for {name} of the schedule {parsed.name}: {value!r} is not a number >= {lowest}."
            )
    return parsed.name, {**known, **parsed.options}
