"""What a run costs: time and traffic."""

from fedlm.aggregation.exact import ExactSum
from fedlm.measure.metric import Better, Metric, RunEvidence

METRICS = (
    Metric("tokens_per_second", "training speed", "tokens per second", Better.HIGHER),
    Metric("bytes_per_round", "traffic of a round and node", "bytes", Better.LOWER),
)


def figures(run: RunEvidence) -> dict[str, float]:
    """Returns the speed of the rounds after the first, which compiles, and the size of a round's arrays."""
    trained = [line for line in run.rounds if line.get("tokens")]
    if not trained:
        return {}
    # Down go float32 weights; up comes one int64 sum for each array, and a second one where drift is measured.
    sums = 2 if any("drift" in line for line in trained) else 1
    up = sums * sum(s.nbytes for s in ExactSum.zeros_like(run.weights).sums)
    found = {"bytes_per_round": float(sum(w.nbytes for w in run.weights) + up)}
    seconds = sum(line["seconds"] for line in trained[1:])
    if seconds:
        found["tokens_per_second"] = sum(line["tokens"] for line in trained[1:]) / seconds
    return found
