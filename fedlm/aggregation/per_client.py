"""One client per message, for rules that compare clients (Krum, median, trimmed mean, ...): the server sees every update.

The replies are sorted by content, because such rules add floats in the order of the replies.
"""

from collections.abc import Sequence
from dataclasses import replace

from fedlm.aggregation.base import Answer, Chunk, ClientResult, Payload, RoundPlan, RoundResult
from fedlm.aggregation.open import Open, read_sum


class PerClient(Open):
    """Sums over one client each."""

    gives_singles = True

    def chunks(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Returns one chunk per client, at the node that the client was assigned to."""
        return [Chunk(c.node, c.clients[i : i + 1]) for c in chunks for i in range(len(c.clients))]

    def open(self, plan: RoundPlan, answers: Sequence[Answer]) -> RoundResult:
        """Returns the sum and the result of each trained client."""
        singles = [_single(a.payload, plan) for a in answers if a.payload is not None]
        trained = sorted((s for s in singles if s is not None), key=_content)
        return replace(super().open(plan, answers), singles=tuple(trained))


def _single(payload: Payload, plan: RoundPlan) -> ClientResult | None:
    total, metrics = read_sum(payload, plan)
    return ClientResult(total.mean(plan.weights), total.weight, metrics) if total.clients else None


def _content(single: ClientResult) -> tuple[list[bytes], int, float]:
    """Returns the sort key of a client; clients with equal keys are interchangeable."""
    return [w.tobytes() for w in single.mean], single.weight, single.metrics.loss_sum
