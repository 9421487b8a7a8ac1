"""Countries, the states of the USA and places by their form ("the city of Leeds", "Leeds, UK"); the names model finds cities."""

import re

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.letters import CAPITAL
from fedlm.scrub.names.lexicon import country_names
from fedlm.scrub.patterns import Rules, rule

RUNS_MODEL = False
HITS = (
    ("made in Germany", "Germany"),
    ("the city of Leeds", "Leeds"),
)
NEAR_MISSES = (
    "made of wood",
    "the city of lights",
)

# Also names of people, or words; left to the names model, which reads the sentence.
_AMBIGUOUS = "Georgia Chad Jordan Turkey Virginia Israel Niger Guinea Mali Dominica Washington"
_ALSO = (
    "United Kingdom, Great Britain, England, Scotland, Wales, Northern Ireland, United States, U.S.A., "
    "U.S., USA, UK, U.K., Russia, South Korea, North Korea, Vietnam, Iran, Syria, Laos, Moldova, Tanzania, "
    "Bolivia, Venezuela, Kosovo, Taiwan, Hong Kong, Libya, Ivory Coast, Czech Republic, Holland, UAE"
)
_NAME = rf"[{CAPITAL}][\w'’-]+(?:[ ][{CAPITAL}][\w'’-]+)?"


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    names = sorted({*country_names(), *_ALSO.split(", ")} - set(_AMBIGUOUS.split()), key=len, reverse=True)
    listed = "|".join(re.escape(n).replace(r"\ ", "[ ]") for n in names)
    return Rules(
        "place",
        (
            rule("LOCATION", rf"(?<![\w@.])(?:{listed})(?![\w@])", 0.65),
            rule(
                "LOCATION",
                rf"\b(?:city|town|village|county|district|province|region)[ ]of[ ](?P<it>{_NAME})",
                0.6,
            ),
            rule(
                "LOCATION",
                rf"\b(?P<it>{_NAME})[ ](?:County|Province|District|Oblast)\b",
                0.6,
            ),
        ),
    )
