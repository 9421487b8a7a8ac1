"""The aggregation seam: how the sums of nodes become the sum of a cohort.

An aggregation is one file with one class. Its **node half** turns the exact sum over a chunk's clients into a payload;
its **server half** says which clients go into one message, may exchange further messages, and opens the payloads.

    server                                      node
    chunks()  -- train request, one a chunk -->
                                                exact sum over the chunk's clients
    check()   <--------- payload -------------  payload()
    complete(ask) <- further exchanges, if any ->
    open()    -> RoundResult
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fedlm.aggregation.exact import ExactSum
from fedlm.types import IntSums, Pseudonyms, TextMetrics, Weights


@dataclass(frozen=True)
class Payload:
    """What leaves a node for a chunk of clients.

    Attributes:
      vectors: int64 vectors of the weights' shapes, by name; "update" is there always.
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
    """What came back for a chunk.

    Attributes:
      chunk: what was asked.
      payload: what the node sent; None if nothing usable came.
      problem: why not, in one sentence.
      is_refused: whether something came that was not usable.
    """

    chunk: Chunk
    payload: Payload | None
    problem: str = ""
    is_refused: bool = False


Check = Callable[[ExactSum], bool]
"""Whether the further sum of a chunk can be what clients of this algorithm send."""


@dataclass(frozen=True)
class RoundPlan:
    """One round, as planned before any message is sent.

    Attributes:
      server_round: the round, from 1.
      weights: the global weights.
      cohort: the clients drawn, (clients,).
      absent: clients of the cohort that are not asked: their loss is replayed by exact unlearning.
      further: the further sums that the algorithm's clients send, and the check of each.
    """

    server_round: int
    weights: Weights
    cohort: Pseudonyms
    absent: frozenset[int] = frozenset()
    further: Mapping[str, Check] = field(default_factory=dict)


@dataclass(frozen=True)
class ClientResult:
    """One client's training on its own, where a rule needs single clients.

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
    """What a round of training brought.

    Attributes:
      total: the exact sum over the cohort.
      metrics: training figures of the clients in it.
      singles: each client's result, under an aggregation that hands clients over one by one.
      lost: clients whose messages brought nothing usable, those not asked included.
      refused: payloads that could not be those of the clients asked.
      problems: a sentence for each message that brought nothing.
    """

    total: ExactSum
    metrics: TextMetrics
    singles: tuple[ClientResult, ...] = ()
    lost: frozenset[int] = frozenset()
    refused: int = 0
    problems: tuple[str, ...] = ()


class Aggregation:
    """Base class of aggregations; `open.py` is the plainest one."""

    gives_singles = False
    """Whether the server's rule sees one result a client, instead of the cohort's mean."""

    def __init__(self, options: Mapping[str, object]) -> None:
        self.options = options

    def payload(self, total: ExactSum, metrics: TextMetrics) -> Payload:
        """The node's half: returns what leaves the node for a chunk."""
        raise NotImplementedError

    def chunks(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Returns the chunks of a cohort, one message each."""
        return list(chunks)

    def check(self, plan: RoundPlan, chunk: Chunk, payload: Payload) -> None:
        """Raises a ValueError that says why a payload cannot be that of a chunk's clients: a node may send anything."""
        raise NotImplementedError

    def complete(self, plan: RoundPlan, answers: Sequence[Answer], ask: "Ask") -> Sequence[Answer]:
        """Returns the answers after further exchanges with the nodes; by default there are none."""
        return answers

    def open(self, plan: RoundPlan, answers: Sequence[Answer]) -> RoundResult:
        """The server's half: returns the round's result. Payloads have been checked."""
        raise NotImplementedError


Ask = Callable[[Sequence[Chunk]], list[Answer]]
"""Sends chunks to their nodes and returns the answers, in order."""
