"""What a finished run says: the content of its result.json."""

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from fedlm.system.figures_json import plain
from fedlm.system.files import replacing

RESULT = "result.json"
_RENAMED = {"alone_bits_per_char": "local_only_bits_per_char"}  # read for one version


@dataclass(frozen=True)
class RunRecord:
    """The result of one run.

    Attributes:
      key: hash of configuration and data; a finished run is recognised by it.
      condition, algorithm, x, seed: the case and its seed.
      folder: the run's folder below `runs/`.
      seconds: that the run took, this time.
      weights_sha256: of the final weights.
      figures: values by metric; NaN where a metric is undefined.
      over_clients: 95 % bootstrap intervals over clients, by metric.
      clients: a row for each client with held-out text; the client is a number, not a pseudonym.
    """

    key: str
    condition: str
    algorithm: str
    x: float | None
    seed: int
    folder: str
    seconds: float
    weights_sha256: str
    figures: Mapping[str, float]
    over_clients: Mapping[str, list[float]] = field(default_factory=dict)
    clients: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns plain values; NaN and infinity become null."""
        found: dict[str, Any] = plain(vars(self))
        return found

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Returns what `to_json` was given, also that of the version before.

        Raises:
          KeyError, TypeError: the content is not the result of a run.
        """
        rows = content["clients"]
        if any(old in row for row in rows for old in _RENAMED):
            warnings.warn(
                f"Results of an earlier version name {', '.join(_RENAMED)}; it is {', '.join(_RENAMED.values())} now.",
                FutureWarning,
                stacklevel=2,
            )
            rows = [{_RENAMED.get(key, key): value for key, value in row.items()} for row in rows]
        figures = {name: math.nan if value is None else float(value) for name, value in content["figures"].items()}
        return cls(**{**content, "figures": figures, "clients": tuple(rows)})

    def write(self, run: Path) -> None:
        """Writes result.json into the run's folder, whole or not at all."""
        with replacing(run / RESULT) as beside:
            beside.write_text(json.dumps(self.to_json()), encoding="utf-8")


def read_record(run: Path, key: str) -> RunRecord | None:
    """Returns the result in a run's folder if it is that of `key`; None if the run is to be done (again)."""
    file = run / RESULT
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return RunRecord.from_json(content) if content["key"] == key else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # damaged: the run is done again
