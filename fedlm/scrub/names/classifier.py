"""From the token classifier's probabilities to names: a log-linear model over words.

The token classifier ignores case and was trained on forms and letters. This model of about 700 weights adds what it
misses: capitals and their frequency in the text, word lists, and neighbouring words. It was fitted by
`python -m fedlm.scrub.names.fit` on tweets and generated text (see docs/scrubbing.md).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fedlm.scrub.names.lexicon import STATIC, Lexicon, lexicon
from fedlm.scrub.names.tagger import LABELS, Tagged
from fedlm.spec import SYNTAX_TREES

CLASSES = ("O", "PERSON", "LOCATION", "ORGANIZATION", "STREET_ADDRESS")
WEIGHTS = "weights.npy"
Matrix = npt.NDArray[np.float32]

_GROUPS = (
    ("GIVEN_NAME",),
    ("SURNAME",),
    ("GIVEN_NAME", "SURNAME"),
    ("CITY", "STATE"),
    ("BUILDING_NUMBER", "STREET_NAME", "SECONDARY_ADDRESS"),
    ("ZIP_CODE",),
    tuple(LABELS),
)
_GROUP_NAMES = ("p_given", "p_surname", "p_person", "p_place", "p_street", "p_code", "p_any")
_PLACES = ("start", "line", "at", "hash", "colon", "stop", "end", "comma", "crowd", "flat")
_PLAIN = (*STATIC, *_GROUP_NAMES, *_PLACES)
_AT = {name: place for place, name in enumerate(_PLAIN)}
_PAIRS = (
    "cap*start cap*p_person lower*p_person upper*p_person cap*p_place lower*p_place cap*p_street "
    "number*p_street number*p_code cap*crowd upper*crowd crowd*p_person flat*p_person flat*given cap*given "
    "cap*surname upper*given rank*cap rank*lower rank*upper given*p_person surname*p_person given*p_any "
    "cap*p_any lower*given start*given start*p_person rare*cap rare*lower hash*cap at*cap at*p_person "
    "country*cap cap*unknown flat*rare cap*company hash*p_person hash*p_place rank*p_person rank*p_place "
    "cap*line cap*end crowd*start short*p_person short*upper"
)
_PRODUCTS = tuple(pair.split("*") for pair in _PAIRS.split())
_NEAR = [_AT[n] for n in (*STATIC, *_GROUP_NAMES, "start", "at", "hash")]
_FAR = [
    _AT[n] for n in ("cap", "given", "surname", "title", "company", "street", "number", "greeting", "article", "says")
]
_FAR += [_AT[n] for n in ("p_person", "p_place", "p_street", "p_code")]
WIDTH = 1 + len(_PLAIN) + len(_PRODUCTS) + 2 * len(_NEAR) + 2 * len(_FAR)


def features(tagged: Tagged, lexicon: Lexicon) -> Matrix:
    """Returns (words, WIDTH): a word's properties, products of them, and those of its neighbours on the same line."""
    text, words = tagged.text, tagged.words
    static = lexicon.vectors([text[a:b] for a, b in words])
    groups = np.stack([tagged.probabilities[:, [LABELS[n] for n in g]].sum(1) for g in _GROUPS], 1)
    clipped = np.clip(groups, 1e-4, 1 - 1e-4)
    odds = np.log(clipped / (1 - clipped)) / 4  # log odds, scaled to about the range of the other features
    plain = np.concatenate([static, odds, _places(text, words, static)], 1)
    products = np.stack([plain[:, _AT[a]] * plain[:, _AT[b]] for a, b in _PRODUCTS], 1)
    tied = np.array([False, *(_tied(text, a[1], b[0]) for a, b in pairwise(words))])
    near, far = plain[:, _NEAR], plain[:, _FAR]
    before, after = _shift(near, tied)
    far_before, far_after = _shift(far, tied)
    further = (_shift(far_before, tied)[0], _shift(far_after, tied)[1])
    return np.concatenate([np.ones((len(words), 1)), plain, products, before, after, *further], 1, dtype=np.float32)


def _shift(values: Matrix, tied: npt.NDArray[np.bool_]) -> tuple[Matrix, Matrix]:
    """Returns the values of each word's predecessor and successor, (words, width) each; zero across a line break."""
    before, after = np.zeros_like(values), np.zeros_like(values)
    before[1:] = values[:-1] * tied[1:, None]
    after[:-1] = values[1:] * tied[1:, None]
    return before, after


def _tied(text: str, end: int, start: int) -> bool:
    """Whether two words, the first ending at `end`, are neighbours on one line."""
    return start - end <= 3 and "\n" not in text[end:start]


_SENTENCE = re.compile(r"[.!?:\n\"“(>•*-]\s*$|^\s*$")


def _places(text: str, words: list[tuple[int, int]], static: Matrix) -> Matrix:
    """Returns (words, len(_PLACES)): a word's position in sentence and line, what is beside it, and the share of capitals."""
    capital = float((static[:, 0] + static[:, 1]).mean()) if words else 0.0
    rows = []
    for start, end in words:
        before, behind = text[max(0, start - 3) : start], text[end : end + 2]
        rows.append(
            (
                bool(_SENTENCE.search(before)),
                start == 0 or "\n" in before,
                before.endswith("@"),
                before.endswith(("#", "# ")),
                behind.lstrip()[:1] == ":",
                behind[:1] == ".",
                not behind.strip() or behind[:1] == "\n",
                behind[:1] == ",",
                capital,
                capital == 0.0,
            )
        )
    return np.array(rows, np.float32).reshape(-1, len(_PLACES))


@dataclass(frozen=True)
class NameModel:
    """The fitted weights (WIDTH, classes) and their word lists."""

    weights: Matrix
    lexicon: Lexicon

    def __call__(self, tagged: Tagged) -> Matrix:
        """Returns the probability of each class for each word (words, classes): softmax(features x weights)."""
        logits = features(tagged, self.lexicon) @ self.weights
        odds = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(odds / odds.sum(1, keepdims=True), np.float32)


@lru_cache(maxsize=1)
def name_model() -> NameModel:
    """Returns the model with the weights that come with the package."""
    with (files("fedlm.scrub.names") / WEIGHTS).open("rb") as file, SYNTAX_TREES:  # NumPy reads the header as a literal
        weights = np.load(file, allow_pickle=False)
    if weights.shape != (WIDTH, len(CLASSES)):
        raise ValueError(f"Expected weights of shape {(WIDTH, len(CLASSES))}, not {weights.shape}: fit them again.")
    return NameModel(weights.astype(np.float32), lexicon())
