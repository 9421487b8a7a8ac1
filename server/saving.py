"""Writes what makes a round count, while the next round trains: waiting for the disk costs no worker's time."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

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
