"""All that a run needs to go on, in one safetensors file; every file of a run is written beside and renamed."""

import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from fedlm.errors import FedLMError
from fedlm.types import Weights


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


Step = Callable[[], object]


class Saver:
    """Runs steps in the order they were given; those of one round at a time.

    A crash finds the folder as it was after the round before, at worst: rounds that are done again have the same bits.

    Args:
      behind: False runs each step at once, where a round must be on the disk before the next one begins.
    """

    def __init__(self, *, behind: bool) -> None:
        self._pool = ThreadPoolExecutor(1) if behind else None
        self._pending: Future[None] | None = None

    def __enter__(self) -> "Saver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.settle()
        finally:
            if self._pool is not None:
                self._pool.shutdown()

    def save(self, *steps: Step) -> None:
        """Runs steps, one after the other; what was given before is done first.

        Raises:
          FedLMError, OSError: what a step of an earlier call raised; the steps after it were not run.
        """
        self.settle()
        if self._pool is None:
            _run(steps)
        else:
            self._pending = self._pool.submit(_run, steps)

    def settle(self) -> None:
        """Waits until all is done; raises what a step raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


def _run(steps: tuple[Step, ...]) -> None:
    for step in steps:
        step()
