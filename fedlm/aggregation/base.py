"""The aggregation seam: how the sums of nodes become the sum of a cohort.

An aggregation is one file with one class. Its **node part** turns the exact sum over a chunk's clients into a payload.
Its **server part** decides which clients share a message, may exchange further messages, and opens the payloads.

    server                                      node
    chunks()  -- train request per chunk ------>
                                                exact sum over the chunk's clients
    check()   <--------- payload -------------  payload()
    complete(ask) <- further exchanges, if any ->
    open()    -> RoundResult
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from fedlm.aggregation.bounds import Bounds
from fedlm.aggregation.exact import ExactSum
from fedlm.types import IntSums, Pseudonyms, TextMetrics, Weights


@dataclass(frozen=True)
class Payload:
    """What leaves a node for a chunk of clients.

    Attributes:
      vectors: int64 vectors in the weights' shapes, by name; always includes "update".
      numbers: figures by name.
    """

    vectors: Mapping[str, IntSums]
    numbers: Mapping[str, int | float]


@dataclass(frozen=True)
class Chunk:
    """The part of a cohort that one message sends to one node."""

    node: int
    clients: Pseudonyms


@dataclass(frozen=True)
class Answer:
    """The answer to the request for a chunk.

    Attributes:
      chunk: the chunk.
      payload: what the node sent; None without a usable reply.
      problem: the reason why there is no usable reply, in one sentence.
      is_refused: whether a reply arrived and was refused.
    """

    chunk: Chunk
    payload: Payload | None
    problem: str = ""
    is_refused: bool = False


Check = Callable[[ExactSum], bool]
"""Returns whether the further sum of a chunk is one that clients of this algorithm could have sent."""


@dataclass(frozen=True)
class RoundPlan:
    """One round, as planned before any message is sent.

    Attributes:
      server_round: the round, from 1.
      weights: the global weights.
      cohort: the sampled clients, (clients,).
      absent: clients of the cohort that get no request, because exact unlearning replays their failure.
      further: the further sums that the algorithm's clients send, with the check for each.
      bounds: what one client can contribute at most; `check` holds every payload against it.
    """

    server_round: int
    weights: Weights
    cohort: Pseudonyms
    absent: frozenset[int] = frozenset()
    further: Mapping[str, Check] = field(default_factory=dict)
    bounds: Bounds = field(default_factory=Bounds)


@dataclass(frozen=True)
class ClientResult:
    """One client's result, for rules that need single clients.

    Attributes:
      mean: global weights + update.
      weight: the client's whole-number weight.
      metrics: its training figures.
    """

    mean: Weights
    weight: int
    metrics: TextMetrics


@dataclass(frozen=True)
class RoundResult:
    """The result of a round of training.

    Attributes:
      total: the exact sum over the cohort.
      metrics: training figures of the clients in the sum.
      singles: each client's result, under an aggregation that passes on single clients.
      lost: clients without a usable reply, including those that got no request.
      refused: the number of payloads that the requested clients could not have sent.
      problems: a sentence for each message without a usable reply.
      is_released: whether the round moved the weights; False if it was charged and lost a chunk.
    """

    total: ExactSum
    metrics: TextMetrics
    singles: tuple[ClientResult, ...] = ()
    lost: frozenset[int] = frozenset()
    refused: int = 0
    problems: tuple[str, ...] = ()
    is_released: bool = True


class Aggregation:
    """Base class of aggregations; `open.py` is the simplest one."""

    gives_singles = False
    """Whether the server's rule sees one result per client instead of the cohort's mean."""

    defaults: ClassVar[Mapping[str, float | int | str | bool]] = {}
    """The options, with their defaults."""

    def __init__(self, options: Mapping[str, object]) -> None:
        self.options = options

    def payload(self, total: ExactSum, metrics: TextMetrics) -> Payload:
        """The node part: returns what leaves the node for a chunk."""
        raise NotImplementedError

    def chunks(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Returns the chunks of a cohort, one message each."""
        return list(chunks)

    def check(self, plan: RoundPlan, chunk: Chunk, payload: Payload) -> None:
        """Raises a ValueError with the reason if a chunk's clients could not have sent this payload: nodes are not trusted.

        `plan.bounds.check` compares a chunk's sum and figures with the limits of the run. Payloads that have passed add up
        without overflow.
        """
        raise NotImplementedError

    def complete(self, plan: RoundPlan, answers: Sequence[Answer], ask: "Ask") -> Sequence[Answer]:
        """Returns the answers after further exchanges with the nodes; by default there are none."""
        return answers

    def open(self, plan: RoundPlan, answers: Sequence[Answer]) -> RoundResult:
        """The server part: returns the round's result. All payloads have passed `check`."""
        raise NotImplementedError


Ask = Callable[[Sequence[Chunk]], list[Answer]]
"""Sends chunks to their nodes and returns the answers, in order."""
