"""A toy algorithm in one file: server momentum that clients see, and a further sum of the updates' signs.

It uses the whole seam: a further vector to the nodes, a further sum from them with its check, state at the server.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np

from fedlm.aggregation.base import RoundPlan, RoundResult
from fedlm.aggregation.exact import SCALE, ExactSum, NamedSum, on_lattice
from fedlm.algorithms.base import Algorithm, Arrays, LocalResult, LocalTask
from fedlm.types import Weights


def _is_possible(total: ExactSum) -> bool:
    """Each client adds -1, 0 or 1 to a coordinate."""
    return total.further["signs"].fits(int(SCALE) * total.clients)


class Momentum(Algorithm):
    """v <- beta v + mean update; w <- w + v. Clients start beta v ahead, and vote with the signs of their updates."""

    defaults: ClassVar = {"beta": 0.5}
    sends: ClassVar = {"signs": _is_possible}
    is_plain = False
    velocity: Weights = ()

    def train(self, task: LocalTask) -> LocalResult:
        ahead = task.vectors.get("velocity") or tuple(np.zeros_like(w) for w in task.weights)
        start = tuple(w + v for w, v in zip(task.weights, ahead, strict=True))
        result = super().train(replace(task, start=task.trainer.begin(start)))
        return replace(result, further={"signs": NamedSum(on_lattice(tuple(map(np.sign, result.update))))})

    def vectors(self) -> Mapping[str, Weights]:
        beta = np.float32(str(self.options["beta"]))
        return {"velocity": tuple(beta * v for v in self.velocity)} if self.velocity else {}

    def step(self, plan: RoundPlan, result: RoundResult, mean: Weights) -> Weights:
        beta, before = np.float32(str(self.options["beta"])), self.velocity or tuple(np.zeros_like(w) for w in mean)
        moved = tuple(m - w for m, w in zip(mean, plan.weights, strict=True))
        self.velocity = tuple(beta * v + m for v, m in zip(before, moved, strict=True))
        return tuple(w + v for w, v in zip(plan.weights, self.velocity, strict=True))

    def figures(self, total: ExactSum) -> dict[str, dict[str, float]]:
        votes = total.further["signs"].vectors
        share = sum(float(np.abs(v).sum()) for v in votes) / SCALE / max(total.clients, 1) / sum(v.size for v in votes)
        return {"agreement": {"signs": share}}

    def state(self) -> Arrays:
        return {f"velocity.{i:04d}": v for i, v in enumerate(self.velocity)}

    def restore(self, state: Arrays) -> None:
        self.velocity = tuple(state[k] for k in sorted(state))
