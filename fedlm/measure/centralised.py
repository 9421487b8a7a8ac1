"""Federated against centralised training on the same text and seed: the centralised model is the ceiling, of each group too."""

from collections.abc import Mapping

from fedlm.measure.metric import Better, Metric

_BITS = "bits per character"
_GROUP = "group:"  # of the losses that `groups.py` gives
METRICS = (
    Metric("central_gap", "loss above centralised training on the same text", _BITS, Better.LOWER),
    Metric("minority_excess", "loss of the minority above its own centralised ceiling", _BITS, Better.LOWER),
    Metric("excess_gap", "excess of the minority minus excess of the others", _BITS),
    Metric("group_excess:", "loss of group {} above its own centralised ceiling", _BITS, Better.LOWER),
)
_OF = {"central_gap": "bits_per_char", "minority_excess": "minority"}


def compare(federated: Mapping[str, float], centralised: Mapping[str, float]) -> dict[str, float]:
    """Returns how far a run is above the centralised run of its text and seed; nothing where one was not evaluated.

    A group's text may be harder than another's under any model. Its excess leaves that out, and the gap between the excess of
    the minority and that of the others is a difference in differences: (minority - others) federated minus the same centralised.

    >>> compare({"bits_per_char": 3.5}, {"bits_per_char": 3.0})
    {'central_gap': 0.5}
    """
    both = federated.keys() & centralised.keys()
    found = {name: federated[of] - centralised[of] for name, of in _OF.items() if of in both}
    if "minority_gap" in both:
        found["excess_gap"] = federated["minority_gap"] - centralised["minority_gap"]
    groups = sorted(name for name in both if name.startswith(_GROUP))
    return found | {f"group_excess:{n.removeprefix(_GROUP)}": federated[n] - centralised[n] for n in groups}
