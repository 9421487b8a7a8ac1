"""What a node still lets leave under differential privacy: the owner's limit, and a file of what was spent."""

import json
import os
from pathlib import Path

from fedlm.errors import ConfigError


class Allowance:
    """Epsilon for vocabularies that a node gives in its life; costs add up (basic composition).

    Args:
      path: where the sum is kept, beside the vault.
      limit: the owner's; 0 gives none.
    """

    def __init__(self, path: Path, limit: float) -> None:
        self._path, self._limit = path, limit

    def spend(self, epsilon: float) -> None:
        """Writes a cost down; only then may noise be drawn.

        Raises:
          ConfigError: the limit would be passed; nothing is spent.
        """
        spent = float(json.loads(self._path.read_text())["epsilon"]) if self._path.is_file() else 0.0
        if not 0 < epsilon <= self._limit - spent:
            raise ConfigError(
                f"This node's policy lets vocabularies cost epsilon {self._limit:g} in all (vocabulary_epsilon), of which "
                f"{spent:g} is spent; this one asks for {epsilon:g}."
            )
        beside = self._path.with_name(f".{self._path.name}.new")
        with beside.open("w") as out:
            json.dump({"epsilon": spent + epsilon}, out)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(self._path)
