"""The algorithm of a configuration."""

from collections.abc import Mapping
from dataclasses import replace

from fedlm.aggregation import drift
from fedlm.aggregation.base import RoundPlan, RoundResult
from fedlm.aggregation.exact import ExactSum
from fedlm.algorithms.base import Algorithm, Arrays, LocalResult, LocalTask
from fedlm.plugins import plugin_class, plugin_names
from fedlm.spec import Spec
from fedlm.types import Weights

_FOLDER = "fedlm.algorithms"


def algorithm_names() -> tuple[str, ...]:
    """Returns the names of the algorithms."""
    return plugin_names(_FOLDER, Algorithm)


def build_algorithm(spec: Spec, *, measures_drift: bool = False) -> Algorithm:
    """Returns an algorithm by its spec; with `measures_drift` it measures client drift in addition.

    Raises:
      ConfigError: there is no such algorithm, or an option is wrong.
    """
    made = plugin_class("algorithm", spec, _FOLDER, Algorithm)(spec)
    return _Measured(made) if measures_drift else made


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
