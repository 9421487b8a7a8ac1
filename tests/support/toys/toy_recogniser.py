"""A recogniser of staff badges, "badge AB-1234": one file, as a user or a new recogniser of ours would be."""

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.patterns import Rules, rule

RUNS_MODEL = False
HITS = (("show badge AB-1234 at the door", "AB-1234"),)
NEAR_MISSES = ("the badge is blue", "flight AB-1234")


def build() -> EntityRecognizer:
    """Returns the recogniser; NATIONAL_ID is a kind's own name."""
    return Rules("badge", (rule("NATIONAL_ID", r"\bbadge[ ](?P<it>[A-Z]{2}-\d{4})\b", 0.9),))
