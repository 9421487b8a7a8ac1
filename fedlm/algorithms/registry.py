"""The algorithm of a configuration."""

from collections.abc import Mapping
from dataclasses import replace

from fedlm.aggregation import drift
from fedlm.aggregation.base import Check, RoundPlan, RoundResult
from fedlm.aggregation.exact import ExactSum
from fedlm.algorithms.base import Algorithm, Arrays, LocalResult, LocalTask
from fedlm.plugins.calls import running
from fedlm.plugins.kinds import PluginKind, label_of
from fedlm.spec import Spec
from fedlm.types import Weights


def _problem(found: type[Algorithm]) -> str:
    """Returns why clients would not go through a class' own rule: those of a plain algorithm share a compiled program."""
    for name in ("train", "sends"):
        if found.is_plain is True and getattr(found, name) is not getattr(Algorithm, name):
            return f"it overrides {name}, so it must set is_plain = False"
    return ""


_KIND = PluginKind(
    "algorithm",
    "fedlm.algorithms",
    Algorithm,
    returns={
        "train": LocalResult,
        "vectors": Mapping,
        "step": (tuple, list),
        "figures": Mapping,
        "state": Mapping,
    },
    problem=_problem,
)


def algorithm_names() -> tuple[str, ...]:
    """Returns the names of the algorithms."""
    return _KIND.names()


def build_algorithm(spec: Spec, *, measures_drift: bool = False) -> Algorithm:
    """Returns an algorithm by its spec; with `measures_drift` it measures client drift in addition.

    Raises:
      ConfigError: there is no such algorithm, or an option is wrong.
    """
    made = _KIND.build(spec, spec)
    made.sends = {name: _told(made, name, check) for name, check in made.sends.items()}
    return _Measured(made) if measures_drift else made


def _told(algorithm: Algorithm, name: str, check: Check) -> Check:
    """Returns the check of a further sum; it names the algorithm if it fails."""
    what = f"algorithm {label_of(algorithm)}"

    def told(total: ExactSum) -> bool:
        with running(what, f"the check of sends[{name!r}]", type(algorithm).__module__):
            return check(total)

    return told


class _Measured(Algorithm):
    """Another algorithm, whose clients also send the direction of their update."""

    is_plain = False  # drift needs the norm of each client's update

    def __init__(self, inner: Algorithm) -> None:
        self._inner, self.options = inner, inner.options
        self.sends = {**inner.sends, drift.NAME: drift.is_possible}
        self.keeps_state = inner.keeps_state

    def proximal_mu(self, strategy: Mapping[str, object]) -> float | None:
        return self._inner.proximal_mu(strategy)

    def train(self, task: LocalTask) -> LocalResult:
        result = self._inner.train(task)
        return replace(result, further={**result.further, drift.NAME: drift.direction(result.update)})

    def vectors(self) -> Mapping[str, Weights]:
        return self._inner.vectors()

    def step(self, plan: RoundPlan, result: RoundResult, mean: Weights) -> Weights:
        return self._inner.step(plan, result, mean)

    def figures(self, total: ExactSum) -> dict[str, dict[str, float]]:
        return {**self._inner.figures(total), drift.NAME: drift.summary(total)}

    def state(self) -> Arrays:
        return self._inner.state()

    def restore(self, state: Arrays) -> None:
        self._inner.restore(state)
