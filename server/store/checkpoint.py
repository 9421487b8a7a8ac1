"""The checkpoint of a run, one safetensors file, and the thread that writes it behind the next round."""

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
from fedlm.system.storage import quoted_error, storage_error
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
    """All that a run needs to resume.

    Attributes:
      round: the number of finished rounds.
      weights: the global weights after that round, float32 in Keras order.
      arrays, strategy: the state of the strategy, see `StrategyState.capture`.
      privacy: the state of the mechanism, all of it released.
    """

    round: int
    weights: Weights
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    strategy: Mapping[str, Any] = field(default_factory=dict)
    privacy: Mapping[str, float] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Writes the file.

        Raises:
          StorageError: it cannot be written.
        """
        # Four digits, so that names sort in Keras order when they are read.
        named = {f"weights.{i:04d}": np.ascontiguousarray(w) for i, w in enumerate(self.weights)}
        metadata = {"round": str(self.round), "strategy": json.dumps(dict(self.strategy))}
        metadata["privacy"] = json.dumps(dict(self.privacy))
        try:
            save_file({**named, **self.arrays}, path, metadata=metadata)
        except SafetensorError as error:
            raise storage_error(quoted_error(error) or OSError(), f"The checkpoint in {path.parent}") from None

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """Reads the file.

        Raises:
          FedLMError: it is damaged.
          StorageError: the machine does not read it.
        """
        try:
            with safe_open(path, "numpy") as opened:
                metadata = opened.metadata()
            arrays = load_file(path)
            weights = tuple(arrays.pop(k) for k in sorted(k for k in arrays if k.startswith("weights.")))
            privacy = json.loads(metadata.get("privacy", "{}"))
            return cls(int(metadata["round"]), weights, arrays, json.loads(metadata["strategy"]), privacy)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            if (cause := quoted_error(error)) is not None:
                raise storage_error(cause, path, "be read") from None
            raise FedLMError(f"The checkpoint {path} is damaged: restore it, or start a new run.") from None


Step = Callable[[], object]


class Saver:
    """Runs the steps that save a round, in order, while the next round is already under way.

    At worst a crash leaves the folder as it was after the round before; rounds that are repeated
    have the same bits.

    Args:
      behind: False runs each step at once, where a round must be on the disk before the next one
        begins.
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
        """Runs steps in order, after those of earlier calls.

        Raises:
          FedLMError, OSError: from a step of an earlier call; the steps after it were not run.
        """
        self.settle()
        if self._pool is None:
            _run(steps)
        else:
            self._pending = self._pool.submit(_run, steps)

    def settle(self) -> None:
        """Waits until all steps have run; raises what a step raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


def _run(steps: tuple[Step, ...]) -> None:
    for step in steps:
        step()
