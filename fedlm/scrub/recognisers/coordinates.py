"""Coordinates: decimal pairs with four places or more, and degrees with minutes."""

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.patterns import DIGITS, Rules, rule

RUNS_MODEL = False
HITS = (
    ("at 52.5200, 13.4050 sharp", "52.5200, 13.4050"),
    ("find us at 52°31'12\"N 13°24'18\"E", "52°31'12\"N 13°24'18\"E"),
)
NEAR_MISSES = (
    "grew by 5.2, 3.4 percent",
    "it was 30° outside",
)


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    degrees = (
        r"\d{1,3}[ ]?°[ ]?(?:\d{1,2}(?:\.\d+)?[ ]?['′’][ ]?)?(?:\d{1,2}(?:\.\d+)?[ ]?(?:[\"″”]|['′’]{2})[ ]?)?[NSEWO]"
    )
    return Rules(
        "coordinates",
        (
            rule(
                "COORDINATES",
                r"(?<![\w.])[-+]?(?:[1-8]?\d|90)\.\d{3,10}°?[ ]?[NS]?[,;][ ]?[-+]?(?:1[0-7]\d|\d{1,2}|180)\.\d{3,10}°?[ ]?[EW]?(?!\w)",
                0.9,
            ),
            rule("COORDINATES", rf"(?<!\w){degrees}(?:[ ,;]{{1,2}}{degrees})?", 0.9, needs="°"),
            rule(
                "COORDINATES",
                r"(?i)\blat(?:itude)?[ :=]{1,2}(?P<it>[-+]?\d{1,2}\.\d{2,10}[ ,;]{1,2}(?:lon(?:g(?:itude)?)?|lng)[ :=]{1,2}[-+]?\d{1,3}\.\d{2,10})",
                0.9,
            ),
        ),
        needs=DIGITS,
    )
