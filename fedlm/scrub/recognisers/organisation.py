"""Organisations by the word that ends or begins their name: "Miller & Sons Ltd", "University of Leeds"; the names model finds others."""

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.letters import CAPITAL
from fedlm.scrub.patterns import Rules, rule

RUNS_MODEL = False
HITS = (
    ("from Miller & Sons Ltd", "Miller & Sons Ltd"),
    ("at the University of Leeds today", "University of Leeds"),
)
NEAR_MISSES = (
    "a limited offer",
    "the bank of the river",
)

_WORD = rf"[{CAPITAL}][\w'’&.-]*"
_LEGAL = (
    r"(?:Inc|Incorporated|Ltd|Limited|LLC|LLP|PLC|plc|Plc|Corp|Corporation|GmbH(?:[ ]&[ ]Co\.?(?:[ ](?:KG|KGaA|OHG|oHG))?)?|AG|KG|KGaA|OHG|"
    r"e\.G\.|e\.V\.|Stiftung|S\.?A\.?R?\.?L?\.?|SAS|S\.?R\.?L\.?|S\.?p\.?[aA]\.?|S\.L\.(?:[ ]?[UL]\.)?|S\.Com\.|S\.A\.U?\.?|S\.Coop\.|B\.?V\.?|N\.?V\.?|V\.?O\.?F\.?|"
    r"Ltda|Pty|A/S|ApS|Oy|AB|sp\.[ ]z[ ]o\.?o\.?|Sp\.[ ][jk]\.|A\.?Ş\.?|Ş?[Tt]i\.|s\.n\.c\.|s\.r\.l\.|e[ ]figli)"
)
_KIND = (
    r"(?:Group|Holdings?|Bank|Partners|Associates|Company|University|College|Institute|Foundation|Ministry|Council|Hospital|Airlines|"
    r"Airways|Industries|Systems|Logistics|Technologies|Solutions|Insurance|Agency|Club|Party|Church|School|Academy|Society|Committee|"
    r"Department|Clinic|Laboratories|Motors|Records|Studios|Press|News|Times|Sons|Union|Federation|Association|Authority|Commission|"
    r"Trust|Consulting|Enterprises|Ventures|Capital|Pharmaceuticals|Energy|Networks|Services)"
)


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    link = r"(?:,?[ ](?:(?:and|&|of|the|for|y|und|et|e|de)[ ]){0,2}|,[ ])"
    return Rules(
        "organisation",
        (
            rule("ORGANIZATION", rf"(?<![\w.]){_WORD}(?:{link}{_WORD}){{0,4}},?[ ]{_LEGAL}(?![\w])", 0.87),
            rule(
                "ORGANIZATION",
                rf"(?<![\w.]){_WORD}(?:[ ](?:(?:and|&|of)[ ])?{_WORD}){{0,3}}[ ](?:&[ ])?{_KIND}\b(?:[ ]of(?:[ ][Tt]he)?(?:[ ]{_WORD}){{1,3}})?",
                0.62,
            ),
            rule(
                "ORGANIZATION",
                rf"\b(?:University|Bank|Ministry|Department|Institute|College|Church)[ ](?:of|for)[ ](?:the[ ])?{_WORD}(?:[ ](?:and[ ])?{_WORD}){{0,3}}",
                0.7,
            ),
            rule(
                "ORGANIZATION",
                rf"(?<![\w.-]){_WORD}(?:,[ ]{_WORD}){{1,2}}[ ](?:and|&)[ ]{_WORD}(?=[ ]?(?:,|\.|;|\n|$|[ ](?:has|is|was|will|announced|said)))",
                0.35,
            ),
            rule(
                "ORGANIZATION",
                rf"(?<![\w.-])[{CAPITAL}]\w+-[{CAPITAL}]\w+(?=[ ](?:announced|account|branch|office|headquarters|shares|board))",
                0.6,
            ),
        ),
    )
