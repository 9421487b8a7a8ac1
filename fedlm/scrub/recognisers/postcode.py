"""Postcodes: British and Canadian by their form; five digits (or four, or six) only beside a state, a place or a context word."""

import re

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.letters import CAPITAL, LOWER
from fedlm.scrub.patterns import DIGITS, Rules, rule

RUNS_MODEL = False
HITS = (
    ("Leeds LS1 4AB", "LS1 4AB"),
    ("Austin, TX 78701", "78701"),
)
NEAR_MISSES = (
    "in 90210 cases",
    "room 12345",
)

_STATES = (
    "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA RI SC SD TN TX "
    "UT VT VA WA WV WI WY DC AA AE AP PR NSW VIC QLD ACT TAS"
)


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    states = "|".join(_STATES.split())
    return Rules(
        "postcode",
        (
            rule(
                "ZIP_CODE",
                r"(?<![\w-])(?:GIR[ ]?0AA|[A-PR-UWYZ](?:\d{1,2}|[A-HK-Y]\d(?:\d|[ABEHMNPRV-Y])?|\d[A-HJKPS-UW])[ ]?\d[ABD-HJLNP-UW-Z]{2})(?![\w-])",
                0.8,
            ),
            rule("ZIP_CODE", r"(?<![\w-])[ABCEGHJ-NPRSTVXY]\d[A-Z][ -]?\d[A-Z]\d(?![\w-])", 0.8),
            rule("ZIP_CODE", rf"\b(?:{states})[ ,]{{1,2}}(?P<it>\d{{5}}(?:-\d{{4}})?|\d{{4}})(?![\w-])", 0.85),
            rule(
                "ZIP_CODE",
                r"(?i)\b(?:zip|post(?:al)?[ ]?code|postcode|plz|zip[ ]?code|cap|pin[ ]?code)\b[ ]?(?:is|:|\#|=|no\.?)?[ ]?(?P<it>(?=\w*\d)[A-Z0-9]{2,5}(?:[ -]?[A-Z0-9]{2,4})?)(?!\w)",
                0.85,
            ),
            rule("ZIP_CODE", r"(?<![\w.,/-])\d{5}-\d{4}(?![\w-])", 0.6),
            rule(
                "ZIP_CODE",
                rf"(?:^|[,\n][ ]?)(?P<it>\d{{5}}|\d{{4}}[ ][A-Z]{{2}}|\d{{2}}-\d{{3}}|\d{{3}}[ ]\d{{2}})(?=[ ][{CAPITAL}][{LOWER}])",
                0.6,
                flags=re.MULTILINE,
            ),
            rule("ZIP_CODE", rf"(?<=[{LOWER}],[ ])(?P<it>\d{{5}})(?=[ ]?(?:[.,;\n]|$))", 0.5),
        ),
        needs=DIGITS,
    )
