"""Evaluates several clients in batches of one fixed shape: short clients cost no padding, and each keeps its own sums.

A row's figures depend, in their last bits, on its place in a batch and on the batch's shape.
Clients are therefore evaluated in packs of `PACK`, and packs are never joined or split: whichever
process evaluates a pack, its figures have the same bits.
"""

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from fedlm.types import Ids, TextMetrics

PACK = 16  # clients; a node evaluates the clients of a message in packs of this size, in the order they come
RowSums = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
"""Loss in nats (rows,) and [correct, tokens, characters] (rows, 3)."""


def sums_by_owner(
    owners: Iterable[tuple[Ids, Ids]], score: Callable[[Ids, Ids], RowSums], rows: int
) -> list[TextMetrics]:
    """Returns each owner's sums over its rows.

    Args:
      owners: inputs and targets of each, (its rows, seq_len); read one after the other, so memory
        holds a few at a time.
      score: returns the figures of each row, from inputs and targets (rows, seq_len); a target 0 is
        padding.
      rows: of a batch.

    Returns:
      One `TextMetrics` for each owner, in order. Losses are summed exactly (`math.fsum`), so a
      row's place does not matter.
    """
    sizes: list[int] = []
    scored = [score(inputs, targets) for inputs, targets in _batches(owners, sizes, rows)]
    if not scored:
        return [TextMetrics() for _ in sizes]
    losses, counts = (np.concatenate([part[k] for part in scored]) for k in (0, 1))
    ends = np.cumsum(sizes)
    return [_summed(losses[a:b], counts[a:b]) for a, b in zip(ends - sizes, ends, strict=True)]


def _summed(losses: npt.NDArray[np.float32], counts: npt.NDArray[np.int64]) -> TextMetrics:
    correct, tokens, characters = (int(c) for c in counts.sum(axis=0))
    return TextMetrics(math.fsum(losses.tolist()), correct, tokens, characters)


def _batches(owners: Iterable[tuple[Ids, Ids]], sizes: list[int], rows: int) -> Iterator[tuple[Ids, Ids]]:
    """Yields all rows in order, `rows` at a time, the last batch filled up with padding.

    Appends the number of each owner's rows to `sizes`.
    """
    waiting: list[tuple[Ids, Ids]] = []
    for pair in owners:
        sizes.append(len(pair[0]))
        waiting.append(pair)
        if sum(len(i) for i, _ in waiting) >= rows:
            inputs, targets = (np.concatenate([part[k] for part in waiting]) for k in (0, 1))
            whole = len(inputs) - len(inputs) % rows
            for first in range(0, whole, rows):
                yield inputs[first : first + rows], targets[first : first + rows]
            waiting = [(inputs[whole:], targets[whole:])]
    if any(len(i) for i, _ in waiting):
        inputs, targets = (np.concatenate([part[k] for part in waiting]) for k in (0, 1))
        fill = ((0, rows - len(inputs)), (0, 0))
        yield np.pad(inputs, fill), np.pad(targets, fill)
