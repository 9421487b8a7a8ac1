"""User names: @handles, u/names, and what follows "username is"."""

from presidio_analyzer import EntityRecognizer

from fedlm.scrub.patterns import Rules, rule

RUNS_MODEL = False
HITS = (
    ("hey @jane_doe!", "@jane_doe"),
    ("ask u/some_body there", "u/some_body"),
    ("my username is jdoe77", "jdoe77"),
)
NEAR_MISSES = (
    "a @ b",
    "the login page",
)


def build() -> EntityRecognizer:
    """Returns the recogniser."""
    return Rules(
        "handle",
        (
            rule("USERNAME", r"(?<![\w@.+-])@\w{2,30}(?!\w|@|\.?\w*@)", 0.85, needs="@"),
            rule("USERNAME", r"(?<![\w/.])/?u/[A-Za-z0-9_-]{3,20}\b", 0.8, needs="/"),
            rule(
                "USERNAME",
                r"(?i)\b(?:user[ ]?name|user[ ]?id|login|nick(?:name)?|handle|screen[ ]?name|skype|insta(?:gram)?|snap(?:chat)?|telegram|discord)"
                r"(?:[ ]is|[ ]?[:=])[ ]?[\"'`“”‘’«»„‹›「\[({<*~|]{0,2}(?P<it>[^\W_][\w.#-]{2,30}\w)",
                0.7,
            ),
        ),
    )
