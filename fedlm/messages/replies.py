"""What a node's reply must be before the server counts with it. Training has its own check, `wire.checked_sum`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, RecordDict

from fedlm.messages import wire
from fedlm.messages.records import arrays_in, records_in
from fedlm.types import Pseudonyms, TextMetrics, Weights

_MALFORMED = (AssertionError, AttributeError, KeyError, OverflowError, TypeError, ValueError)
_FORM = "keys or types of the reply are wrong"


def checked_census(content: RecordDict) -> tuple[bytes, Pseudonyms, Mapping[str, npt.NDArray[Any]]]:
    """Returns vault, pseudonyms and counts of tokens and documents of a census.

    Raises:
      ValueError: it is not laid out as one.
    """
    try:
        vault, pseudonyms, counts = wire.content_census(content)
    except _MALFORMED:
        raise ValueError(_FORM) from None
    if pseudonyms.dtype != np.uint64 or pseudonyms.ndim != 1:
        raise ValueError("the pseudonyms are not a list of them")
    if any(c.shape != pseudonyms.shape or c.dtype.kind not in "iu" for c in counts.values()):
        raise ValueError("the counts are not one for each client")
    if any(c.size and not 0 <= int(c.min()) <= int(c.max()) < 2**32 for c in counts.values()):
        raise ValueError("the counts are not counts")
    return vault, pseudonyms, counts


def checked_initial(content: RecordDict) -> Weights | None:
    """Returns the initial weights of a census; None if it brings none.

    Raises:
      ValueError: they do not read.
    """
    if "arrays" not in records_in(content, ArrayRecord):
        return None
    try:
        return wire.record_weights(arrays_in(content))
    except _MALFORMED:
        raise ValueError("the initial weights do not read") from None


def checked_evaluation(content: RecordDict, node: int, asked: Pseudonyms) -> dict[int, TextMetrics]:
    """Returns held-out sums per client, or the sum over all clients under the node's id where the node tells no more.

    A loss may be infinite or NaN: that is what a model without bounds has.

    Args:
      content: of the reply.
      node: who sent it.
      asked: the clients that the node was to evaluate.

    Raises:
      ValueError: keys, types or figures are not those of an evaluation, or the clients are not those asked for.
    """
    try:
        group = wire.content_group(content)
        figures = wire.content_evaluation(content) if group is None else {node: group}
    except _MALFORMED:
        raise ValueError(_FORM) from None
    if group is None and set(figures) != set(map(int, asked)):
        raise ValueError("its clients are not those that the node was asked for")
    if any(min(m.correct, m.tokens, m.characters) < 0 for m in figures.values()):
        raise ValueError("figures of the reply are wrong")
    return figures
