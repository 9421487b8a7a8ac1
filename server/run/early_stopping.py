"""Early stopping by the loss on validation text, or on held-out text where there is none.

Its state is a function of the lines of metrics.jsonl, so a resumed run continues it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.types import Evaluated


def no_text_to_stop_by(part: Evaluated) -> ConfigError:
    """Returns the error for a run without the text that early stopping reads."""
    key = "validation_fraction" if part is Evaluated.VALIDATION else "holdout_fraction"
    return ConfigError(f"patience needs {part.words} text: set {key} above 0, or patience=0.")


@dataclass
class Best:
    """The state of early stopping.

    Attributes:
      patience: the number of evaluations without an improvement after which the run stops.
      min_gain: the smallest decrease of the loss that counts as one, in nats per token.
      round, loss: of the best evaluation.
      waited: evaluations since then.
    """

    patience: int
    min_gain: float
    round: int = -1
    loss: float = math.inf
    waited: int = 0

    @classmethod
    def of(cls, lines: Iterable[Mapping[str, Any]], config: RunConfig) -> "Best":
        """Returns the state after these lines of metrics."""
        best = cls(config.patience, config.min_gain)
        for line in lines:
            if "eval" in line:
                best.add(line["round"], line["eval"]["loss"])
        return best

    def add(self, server_round: int, loss: float) -> bool:
        """Adds an evaluation; returns whether it is the best so far.

        Raises:
          ConfigError: there is no text to evaluate.
        """
        if self.round < 0 and math.isnan(loss):
            raise no_text_to_stop_by(Evaluated.HELD_OUT)
        if self.round < 0 or loss < self.loss - self.min_gain:
            self.round, self.loss, self.waited = server_round, loss, 0
            return True
        self.waited += 1
        return False

    @property
    def is_over(self) -> bool:
        """Whether patience has run out."""
        return self.waited >= self.patience
