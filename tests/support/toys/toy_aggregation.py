"""A toy aggregation in one file: a node splits its sum into two shares modulo 2**64, and lost chunks are asked once more."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fedlm.aggregation.base import Answer, Ask, Chunk, Payload, RoundPlan, RoundResult
from fedlm.aggregation.exact import ExactSum
from fedlm.aggregation.open import UPDATE, Open
from fedlm.types import IntSums, TextMetrics


class Shares(Open):
    """The update is the sum of two vectors, each of which alone is uniform noise."""

    def payload(self, total: ExactSum, metrics: TextMetrics) -> Payload:
        plain = super().payload(total, metrics)
        rng = np.random.default_rng()
        masks = tuple(rng.integers(-(2**63), 2**63 - 1, s.shape, np.int64) for s in plain.vectors[UPDATE])
        with np.errstate(over="ignore"):
            hidden = tuple(s - m for s, m in zip(plain.vectors[UPDATE], masks, strict=True))
        return replace(plain, vectors={**plain.vectors, UPDATE: hidden, "mask": masks})

    def check(self, plan: RoundPlan, chunk: Chunk, payload: Payload) -> None:
        if not {UPDATE, "mask"} <= set(payload.vectors):
            raise ValueError("the names of its vectors are wrong")
        super().check(plan, chunk, _joined(payload))

    def complete(self, plan: RoundPlan, answers: Sequence[Answer], ask: Ask) -> Sequence[Answer]:
        lost = [a.chunk for a in answers if a.payload is None]
        return [a for a in answers if a.payload is not None] + (ask(lost) if lost else [])

    def open(self, plan: RoundPlan, answers: Sequence[Answer]) -> RoundResult:
        return super().open(plan, [replace(a, payload=a.payload and _joined(a.payload)) for a in answers])


def _joined(payload: Payload) -> Payload:
    vectors = dict(payload.vectors)
    masks: IntSums = vectors.pop("mask")
    with np.errstate(over="ignore"):
        vectors[UPDATE] = tuple(s + m for s, m in zip(vectors[UPDATE], masks, strict=True))
    return Payload(vectors, payload.numbers)
