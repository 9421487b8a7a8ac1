"""Titles before a name: Mr., Dr, Frau."""

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.letters import CAPITAL, LOWER, UNCASED
from fedlm.scrub.patterns import Rules, rule

RUNS_MODEL = False
HITS = (
    ("ask Dr. Brown", "Dr."),
    ("for Mrs Smith", "Mrs"),
)
NEAR_MISSES = (
    "the drive was long",
    "a doctor came",
)


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    short = r"(?:Mr|Mrs|Ms|Mx|Dr|Prof|Rev|Hon|Capt|Lt|Sgt|Col|Gen|Sr|Sra|Srta|Mme|Mlle|Herr|Frau|Fr|MR|MRS|MS|DR|PROF)"
    long = r"(?:Miss|Mister|Madam|Professor|Doctor|Señora?|Monsieur|Madame|Signora?|Sheikh|Rabbi)"
    return Rules(
        "title",
        (
            rule(
                "TITLE",
                rf"(?<![\w@#.])(?P<it>{short}\.?)(?=[ \t\ue000-\uf8ff]{{1,2}}[{CAPITAL}{UNCASED}\ue000-\uf8ff])",
                0.8,
            ),
            rule("TITLE", rf"(?<![\w@#.])(?P<it>{long})(?=[ \t]{{1,2}}[{CAPITAL}{UNCASED}\ue000-\uf8ff])", 0.6),
            rule("TITLE", rf"(?<![\w@#.])(?P<it>(?:mr|mrs|ms|dr|prof)\.?)(?=[ ][{LOWER}]{{2}})", 0.6),
            rule("TITLE", r"(?<![\w@#.])(?:Mrs?|Ms|Dr|Prof)\.(?!\w)", 0.5),
        ),
    )
