"""All that a run needs to go on, in one safetensors file; every file of a run is written beside and renamed."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from fedlm.errors import FedLMError
from fedlm.types import Weights


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a name beside `path`; renames it there when the block ends well, removes it otherwise."""
    beside = path.with_name(f".{path.name}.new")
    try:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def weights_sha256(weights: Weights) -> str:
    """Returns SHA-256 over the float32 bytes of the weights in Keras order."""
    digest = hashlib.sha256()
    for w in weights:
        digest.update(np.ascontiguousarray(w, "<f4").tobytes())
    return digest.hexdigest()


LATEST = "latest.safetensors"
BEST = "best.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on: one safetensors file.

    Attributes:
      round: rounds done.
      weights: the global weights after it.
      arrays, strategy: what the strategy remembers, see `StrategyState.capture`.
      privacy: what the mechanism remembers, all of it released.
    """

    round: int
    weights: Weights
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    strategy: Mapping[str, Any] = field(default_factory=dict)
    privacy: Mapping[str, float] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Writes the file.

        Raises:
          FedLMError: it cannot be written.
        """
        named = {f"weights.{i:04d}": np.ascontiguousarray(w) for i, w in enumerate(self.weights)}
        metadata = {"round": str(self.round), "strategy": json.dumps(dict(self.strategy))}
        metadata["privacy"] = json.dumps(dict(self.privacy))
        try:
            save_file({**named, **self.arrays}, path, metadata=metadata)
        except SafetensorError:
            raise FedLMError(f"The checkpoint in {path.parent} could not be written; is the disk full?") from None

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """Reads the file.

        Raises:
          FedLMError: it is damaged.
        """
        try:
            with safe_open(path, "numpy") as opened:
                metadata = opened.metadata()
            arrays = load_file(path)
            weights = tuple(arrays.pop(k) for k in sorted(k for k in arrays if k.startswith("weights.")))
            privacy = json.loads(metadata.get("privacy", "{}"))
            return cls(int(metadata["round"]), weights, arrays, json.loads(metadata["strategy"]), privacy)
        except (SafetensorError, KeyError, TypeError, ValueError):
            raise FedLMError(f"The checkpoint {path} is damaged; restore it, or start the run anew.") from None
