"""What a node still lets leave under differential privacy: the owner's limits, and a file of what was spent."""

import json
import os
from pathlib import Path

from fedlm.errors import ConfigError

_ROUNDING = 1e-9  # of a limit, so that ten times 0.1 is no more than 1


class Allowance:
    """Epsilon and delta for vocabularies that a node gives in its life; both add up (basic composition).

    Args:
      path: where the sums are kept, beside the vault.
      epsilon: the owner's limit; 0 gives none.
      delta: the owner's limit; 0 gives none. Without it a small epsilon could be bought with a large delta.
    """

    def __init__(self, path: Path, epsilon: float, delta: float) -> None:
        self._path, self._limits = path, {"epsilon": epsilon, "delta": delta}

    def spend(self, epsilon: float, delta: float) -> None:
        """Writes a cost down; only then may noise be drawn.

        Raises:
          ConfigError: a limit would be passed; nothing is spent.
        """
        costs, spent = {"epsilon": epsilon, "delta": delta}, self._spent()
        for name, limit in self._limits.items():
            if not (costs[name] > 0 and spent[name] + costs[name] <= limit * (1 + _ROUNDING)):
                raise ConfigError(
                    f"This node's policy lets vocabularies cost {name} {limit:g} in all (vocabulary_{name}), of which "
                    f"{spent[name]:g} is spent; this one asks for {costs[name]:g}."
                )
        beside = self._path.with_name(f".{self._path.name}.new")
        with beside.open("w") as out:
            json.dump({name: spent[name] + cost for name, cost in costs.items()}, out)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(self._path)

    def _spent(self) -> dict[str, float]:
        """Returns the sums; a file of before deltas were counted has none, and its vocabularies count as 0."""
        kept = json.loads(self._path.read_text()) if self._path.is_file() else {"epsilon": 0.0}
        return {"epsilon": float(kept["epsilon"]), "delta": float(kept.get("delta", 0.0))}
