"""Rounds under differential privacy that released nothing, because a node sent no usable reply."""

import warnings
from typing import Any

from fedlm.aggregation.base import RoundResult
from fedlm.errors import CohortError, FedLMWarning

MOST_IN_A_ROW = 3


class Unreleased:
    """Counts such rounds in a row, tells of each, and stops the run at the third."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def note(self, server_round: int, result: RoundResult) -> None:
        """Takes note of a round that is on disk.

        Raises:
          CohortError: too many rounds in a row released nothing.
        """
        self._in_a_row = 0 if result.is_released else self._in_a_row + 1
        if result.is_released:
            return
        sentence = (
            f"Round {server_round} released nothing, because a node sent no usable reply (private/metrics.jsonl says why): "
            "the weights are unchanged, and the round is charged."
        )
        warnings.warn(sentence, FedLMWarning, stacklevel=2)
        if self._in_a_row == MOST_IN_A_ROW:
            raise CohortError(
                f"{MOST_IN_A_ROW} rounds in a row, up to round {server_round}, released nothing, because a node sent no usable "
                "reply: see to the nodes, then continue with --resume."
            )


def about(result: RoundResult) -> dict[str, Any]:
    """Returns what the line of metrics of a round says about it; nothing for a round that was released."""
    if result.is_released:
        return {}
    return {"released": False, "lost": len(result.lost), "problems": sorted(set(result.problems))}
