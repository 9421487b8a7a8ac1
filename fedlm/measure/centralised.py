"""Federated against centralised training on the same text and seed: the centralised model is the ceiling."""

from collections.abc import Mapping

from fedlm.measure.metric import Better, Metric

METRICS = (
    Metric("central_gap", "loss above centralised training on the same text", "bits per character", Better.LOWER),
)


def compare(federated: Mapping[str, float], centralised: Mapping[str, float]) -> dict[str, float]:
    """Returns how far a run is above the centralised run of its text and seed; nothing where one was not evaluated.

    >>> compare({"bits_per_char": 3.5}, {"bits_per_char": 3.0})
    {'central_gap': 0.5}
    """
    if "bits_per_char" not in federated or "bits_per_char" not in centralised:
        return {}
    return {"central_gap": federated["bits_per_char"] - centralised["bits_per_char"]}
