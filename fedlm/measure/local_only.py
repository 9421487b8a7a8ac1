"""The global model against local-only training: a model of each client's own text and nothing else."""

import math

import numpy as np
import numpy.typing as npt

from fedlm.measure.metric import Better, Metric, RunEvidence, Values

_BITS = "bits per character"
METRICS = (
    Metric("worse_than_local", "clients worse off than with local-only training", "fraction", Better.LOWER),
    Metric("personal_gap", "gain over local-only training, mean over clients", _BITS, Better.HIGHER),
    Metric(
        "minority_worse_than_local",
        "minority clients worse off than with local-only training",
        "fraction",
        Better.LOWER,
    ),
    Metric("minority_personal_gap", "gain over local-only training, mean over the minority", _BITS, Better.HIGHER),
)


def figures(run: RunEvidence) -> dict[str, float]:
    """Returns the comparison over the clients that have a local-only model; nothing if none has."""
    known = np.isfinite(run.local_bits)
    found = _compared(run, known, "")
    if run.minority:
        found |= _compared(run, known & run.in_minority, "minority_")
    return found


def _compared(run: RunEvidence, which: npt.NDArray[np.bool_], prefix: str) -> dict[str, float]:
    """The figures over some clients; `which` is (clients,)."""
    if not which.any():
        return {}
    shared, own = run.bits[which], run.local_bits[which]
    return {
        f"{prefix}worse_than_local": share_worse_than_local(shared, own),
        f"{prefix}personal_gap": float(np.mean(own - shared)),
    }


def share_worse_than_local(shared: Values, local_only: Values) -> float:
    """Returns the share of clients whose loss under the global model is higher than under their local-only model.

    Args:
      shared: loss of each client under the global model, (clients,).
      local_only: the same clients' loss under the model trained on nothing but their own text, (clients,).

    Raises:
      ValueError: the two have different lengths.
    """
    if len(shared) != len(local_only):
        raise ValueError(f"Expected as many figures, got {len(shared)=} and {len(local_only)=}.")
    return float(np.mean(shared > local_only)) if len(shared) else math.nan
