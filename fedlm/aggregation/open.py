"""Unmasked sums: a node sends the exact sum over its chunk, and the server adds the chunks.

Integer addition is associative, so the result has the same bits however the cohort was split. A payload that a chunk of this
size could not have sent is refused, and its clients count as lost.
"""

import math
from collections.abc import Mapping, Sequence

from fedlm.aggregation.base import Aggregation, Answer, Chunk, Payload, RoundPlan, RoundResult
from fedlm.aggregation.exact import ExactSum, NamedSum
from fedlm.types import IntSums, TextMetrics

UPDATE = "update"
_COUNTS = ("weight", "clients", "failed", "unopened", "below")
_FIGURES = ("correct", "tokens", "characters")


class Open(Aggregation):
    """The default aggregation."""

    def payload(self, total: ExactSum, metrics: TextMetrics) -> Payload:
        """Returns the chunk's sums unchanged."""
        vectors: dict[str, IntSums] = {UPDATE: total.sums}
        numbers: dict[str, int | float] = {name: getattr(total, name) for name in _COUNTS}
        numbers["loss-sum"] = metrics.loss_sum
        numbers |= {name: getattr(metrics, name) for name in _FIGURES}
        for name, named in total.further.items():
            vectors[name] = named.vectors
            numbers |= {f"{name}.{key}": number for key, number in named.numbers.items()}
        return Payload(vectors, numbers)

    def check(self, plan: RoundPlan, chunk: Chunk, payload: Payload) -> None:
        """Refuses a payload that a chunk of this size could not have sent."""
        try:
            total, metrics = read_sum(payload, plan)
        except (KeyError, TypeError, OverflowError):
            raise ValueError("a figure is missing or invalid") from None
        plan.bounds.check(total, metrics, asked=len(chunk.clients), cohort=len(plan.cohort))
        if not all(is_possible(total) for is_possible in plan.further.values()):
            raise ValueError("the figures of its further sums are out of range")

    def open(self, plan: RoundPlan, answers: Sequence[Answer]) -> RoundResult:
        """Returns the sum over all chunks with a usable payload."""
        parts = [read_sum(a.payload, plan) for a in answers if a.payload is not None]
        failed = [a for a in answers if a.payload is None]
        total = ExactSum.of([part for part, _ in parts], plan.weights, further=plan.further)
        total.failed = len(plan.cohort) - total.clients
        return RoundResult(
            total,
            sum((figures for _, figures in parts), TextMetrics()),
            lost=plan.absent | {int(client) for a in failed for client in a.chunk.clients},
            refused=sum(a.is_refused for a in failed),
            problems=tuple(a.problem for a in failed),
        )


def read_sum(payload: Payload, plan: RoundPlan) -> tuple[ExactSum, TextMetrics]:
    """Returns a chunk's exact sum and training figures.

    Raises:
      KeyError, ValueError: a figure or a vector is missing, or a count is not a whole number >= 0.
    """
    numbers = dict(payload.numbers)
    if set(payload.vectors) != {UPDATE, *plan.further}:
        raise ValueError("the names of its vectors are wrong")
    counts = {name: _count(numbers.pop(name)) for name in _COUNTS}
    loss_sum, figures = float(numbers.pop("loss-sum")), [_count(numbers.pop(name)) for name in _FIGURES]
    further = {name: NamedSum(payload.vectors[name], _numbers_of(name, numbers)) for name in plan.further}
    total = ExactSum(payload.vectors[UPDATE], further=further, **counts)
    return total, TextMetrics(loss_sum, *figures)


def _numbers_of(name: str, numbers: Mapping[str, int | float]) -> dict[str, int]:
    start = f"{name}."
    return {key.removeprefix(start): _count(n) for key, n in numbers.items() if key.startswith(start)}


def _count(number: int | float) -> int:
    """Returns a whole number >= 0; raises for others, NaN and infinity included."""
    if not (math.isfinite(number) and number >= 0 and number == int(number)):
        raise ValueError("one of its counts is not a whole number >= 0")
    return int(number)
