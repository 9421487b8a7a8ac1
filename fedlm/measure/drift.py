"""Client drift: how far the clients' updates of a round point apart, and how long they are."""

from fedlm.measure.metric import Metric, RunEvidence

METRICS = (
    Metric("update_cosine", "cosine of client updates to their mean, mean over clients and rounds"),
    Metric("update_norm", "L2 norm of client updates, mean over clients and rounds"),
)


def figures(run: RunEvidence) -> dict[str, float]:
    """Returns the means over rounds; nothing where the run did not measure drift (`drift=true`)."""
    found = {}
    for name, key in (("update_cosine", "cosine"), ("update_norm", "norm")):
        values = [line["drift"][key] for line in run.rounds if key in line.get("drift", {})]
        if values:
            found[name] = sum(values) / len(values)
    return found
