"""The privacy budget of all vocabularies that a node ever releases, in a file beside the vault."""

import json
from pathlib import Path

from fedlm.errors import ConfigError
from fedlm.system.files import write_atomic

_ROUNDING = 1e-9  # relative tolerance of a limit: ten times 0.1 must not exceed 1


class VocabularyBudget:
    """The epsilon and delta of all vocabularies that a node ever releases.

    Under basic composition both add up: (sum of epsilon_i, sum of delta_i). Both have a limit, since a small epsilon could
    otherwise be bought with a large delta.

    Args:
      path: the file with the sums, beside the vault.
      epsilon: the owner's limit; 0 releases no vocabulary.
      delta: the owner's limit; 0 releases no vocabulary.
    """

    def __init__(self, path: Path, epsilon: float, delta: float) -> None:
        self._path, self._limits = path, {"epsilon": epsilon, "delta": delta}

    def spend(self, epsilon: float, delta: float) -> None:
        """Records a cost durably; only then may noise be generated.

        Raises:
          ConfigError: the cost would exceed a limit; nothing is spent.
        """
        costs, spent = {"epsilon": epsilon, "delta": delta}, self._spent()
        for name, limit in self._limits.items():
            if not (costs[name] > 0 and spent[name] + costs[name] <= limit * (1 + _ROUNDING)):
                raise ConfigError(
                    f"This node's policy limits the {name} of all vocabularies to {limit:g} (vocabulary_{name}); {spent[name]:g} is "
                    f"spent, and this one would cost {costs[name]:g}."
                )
        write_atomic(self._path, json.dumps({name: spent[name] + cost for name, cost in costs.items()}))

    def _spent(self) -> dict[str, float]:
        """Returns the sums. Files of earlier versions have no delta; their vocabularies count as delta 0."""
        kept = json.loads(self._path.read_text()) if self._path.is_file() else {"epsilon": 0.0}
        return {"epsilon": float(kept["epsilon"]), "delta": float(kept.get("delta", 0.0))}
