"""The state of a run between rounds besides the weights: that of the strategy, the mechanism and the algorithm."""

import numpy as np

from fedlm.types import Weights
from server.run.round import Stages
from server.run.strategy_state import StrategyState
from server.store.checkpoint import Checkpoint

_ALGORITHM = "algorithm."


class RunState:
    """Captures and restores the state of a run's stages.

    Args:
      stages: freshly built; the strategy's present state needs no checkpoint.
    """

    def __init__(self, stages: Stages) -> None:
        self._stages, self._strategy = stages, StrategyState(stages.optimizer.strategy)

    def checkpoint(self, server_round: int, weights: Weights) -> Checkpoint:
        """Returns all that the run needs to continue. Arrays are copied, since the next round may change them in place.

        Raises:
          ConfigError: the strategy has state of a type that a checkpoint cannot store.
        """
        arrays, strategy = self._strategy.capture()
        arrays |= {_ALGORITHM + k: np.asarray(a) for k, a in self._stages.algorithm.state().items()}
        held = {k: a.copy() for k, a in arrays.items()}
        return Checkpoint(server_round, weights, held, strategy, self._stages.release.state())

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restores the state in a checkpoint.

        Raises:
          FedLMError: the privacy ledger lacks a round that the checkpoint has.
        """
        arrays = dict(checkpoint.arrays)
        own = {k.removeprefix(_ALGORITHM): arrays.pop(k) for k in list(arrays) if k.startswith(_ALGORITHM)}
        self._strategy.restore(arrays, dict(checkpoint.strategy))
        self._stages.algorithm.restore(own)
        self._stages.release.restore(checkpoint.round, dict(checkpoint.privacy))
