"""A toy measure in one file: the share of clients whose held-out loss lies above a bound."""

from fedlm.measure.metric import Better, Measure, Metric, RunEvidence

BOUND = 6.0  # bits per character; log2(90) = 6.5 is the loss of a uniform guess
LABEL = f"clients above {BOUND:g} bits per character"
METRICS = (Metric("toy_above_bound", LABEL, "fraction", Better.LOWER, optional=True),)


def figures(run: RunEvidence) -> dict[str, float]:
    """Returns the share: counts first, the ratio last; nothing for a run without clients."""
    return {"toy_above_bound": float((run.bits > BOUND).sum() / len(run.bits))} if run.clients else {}


TOY = Measure(METRICS, figures)
