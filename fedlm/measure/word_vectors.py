"""Association of words by their embeddings (WEAT), for a model of words: are the vectors of one set of words nearer to he than to she?

For target words w of sets X and Y and attribute words of sets A and B (Caliskan, Bryson and Narayanan 2017,
https://doi.org/10.1126/science.aal4230):

    s(w) = mean over a in A of cos(w, a) - mean over b in B of cos(w, b)
    d    = (mean over X of s - mean over Y of s) / standard deviation of s over X and Y, over n - 1

The null is that X and Y do not differ in s; p is from the permutation test over divisions of the target words, two-sided (one-sided
in the paper). A word that the text hardly has keeps the vector that it was drawn with, so only words that occur often count.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fedlm.data.lines import json_of, read_text
from fedlm.errors import CorpusError, FedLMWarning
from fedlm.measure.metric import Measure, Metric, RunEvidence, WordVectors
from fedlm.measure.permutation import division_p
from fedlm.measure.statistics import Values

FEWEST_OCCURRENCES = 20
FEWEST_WORDS = 4  # of each set: 4 against 4 is the least whose p can be below 0.05 (2 of 70)
SEED = 0  # of random divisions
METRICS = (
    Metric("words_d:", "association of word vectors, {}", "standard deviations", margin=0.2, optional=True),
    Metric("words_p:", "p of the association of word vectors, {}", optional=True),
    Metric("words_left:", "words that count, {}"),
)
_LAYOUT = 'a JSON of {"name": {"targets": [["nurse", ...], ["smith", ...]], "attributes": [["she", ...], ["he", ...]]}}'
Sets = tuple[tuple[str, ...], tuple[str, ...]]
# The attribute words "female" and "male" of Caliskan et al. 2017, table 1.
GENDER: Sets = (
    ("female", "woman", "girl", "sister", "she", "her", "hers", "daughter"),
    ("male", "man", "boy", "brother", "he", "him", "his", "son"),
)


@dataclass(frozen=True)
class WordTest:
    """Two sets of target words, and two sets of attribute words."""

    targets: Sets
    attributes: Sets


@dataclass(frozen=True)
class WordAssociation:
    """What a test found.

    Attributes:
      effect_size: d; None if there is no figure, and `reason` then says why.
      p_value: two-sided.
      left: how many words of X, Y, A and B count.
      seed: of the permutation test, where divisions are drawn at random.
      reason: a sentence, or "".
    """

    effect_size: float | None
    p_value: float | None
    left: tuple[int, ...]
    seed: int
    reason: str = ""

    def to_dict(self) -> dict[str, object]:
        """Returns plain values for JSON."""
        return asdict(self)


def read_word_tests(path: Path) -> dict[str, WordTest]:
    """Reads a file of word sets, by name.

    Raises:
      CorpusError: it is missing, of another layout, or a word is in both sets of a test.
    """
    if not path.is_file():
        raise CorpusError(f"There is no file of word sets {path}.")
    try:
        tests = {
            str(n): WordTest(_sets(t["targets"]), _sets(t["attributes"]))
            for n, t in json_of(read_text(path), str(path)).items()
        }
    except CorpusError as error:
        raise CorpusError(f"{str(error).rstrip('.')}; a file of word sets is {_LAYOUT}, of single words.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CorpusError(f"{path} is not a file of word sets: it is {_LAYOUT}, of single words.") from None
    if not tests:
        raise CorpusError(f"{path} has no test in it; the layout is {_LAYOUT}.")
    for name, test in tests.items():
        if any(set(a) & set(b) for a, b in (test.targets, test.attributes)):
            raise CorpusError(f"The test {name!r} of {path} has a word in both of two sets: leave it in one.")
    return tests


def _sets(value: object) -> Sets:
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(side, list) and side for side in value)):
        raise ValueError
    if not all(isinstance(word, str) and word and word == "".join(word.split()) for side in value for word in side):
        raise ValueError
    return tuple(dict.fromkeys(value[0])), tuple(dict.fromkeys(value[1]))


def occupation_words(shares: Mapping[str, float]) -> WordTest:
    """Returns the test of occupations with more women against those with fewer, by women's and men's words.

    Args:
      shares: percentage of women in each, official figures; those of several words are left out.
    """
    women, men = (tuple(o for o, s in shares.items() if sign * s > sign * 50 and " " not in o) for sign in (1, -1))
    return WordTest((women, men), GENDER)


def similarity(targets: Values, first: Values, second: Values) -> Values:
    """Returns s of each target word, (targets,), from vectors (words, width); NaN where a vector is 0 or not finite."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        units = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (targets, first, second)]
        found: Values = (units[0] @ units[1].T).mean(axis=1) - (units[0] @ units[2].T).mean(axis=1)
    return found


def effect_size(values: Values, first: int) -> float:
    """Returns d of the values of X, which come first, and Y; NaN where they do not differ."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 and np.ptp(values) > 0 else 0.0
    return float(values[:first].mean() - values[first:].mean()) / spread if spread > 0 else math.nan


def word_association(test: WordTest, words: WordVectors, seed: int = SEED) -> WordAssociation:
    """Runs one test on the words that count: those of the vocabulary that occur FEWEST_OCCURRENCES times and more.

    Args:
      test: whose sets.
      words: vectors of the vocabulary; if their counts are not known, all words of the vocabulary count.
      seed: of the permutation test.
    """
    kept = [[w for w in own if words.count(w) >= FEWEST_OCCURRENCES] for own in (*test.targets, *test.attributes)]
    left = tuple(map(len, kept))
    if min(left) < FEWEST_WORDS:
        return WordAssociation(None, None, left, seed, _too_few(left, known=words.counts is not None))
    x, y, a, b = (np.stack([words.vectors[w] for w in own]).astype(np.float64) for own in kept)
    values = similarity(np.concatenate([x, y]), a, b)
    d = effect_size(values, len(x)) if np.isfinite(values).all() else math.nan
    if math.isnan(d):
        return WordAssociation(None, None, left, seed, "The vectors do not differ, or are 0 or not finite.")
    return WordAssociation(d, division_p(values, np.ones(len(values)), len(x), seed), left, seed)


def _too_few(left: Sequence[int], *, known: bool) -> str:
    count = f" and occur {FEWEST_OCCURRENCES} times and more in the training text" if known else ""
    return (
        f"Too few words: of the four sets {', '.join(map(str, left))} are in the vocabulary{count}, and each needs "
        f"{FEWEST_WORDS}."
    )


def words_of(tests: Mapping[str, WordTest]) -> Measure:
    """Returns the measure for a study; a test without a figure is omitted, with a warning that says why."""

    def figures(run: RunEvidence) -> dict[str, float]:
        words, values = run.words(), {}
        for name, test in tests.items():
            found = word_association(test, words)
            values[f"words_left:{name}"] = float(sum(found.left))
            if found.effect_size is None or found.p_value is None:
                warnings.warn(f"No association of word vectors for {name}: {found.reason}", FedLMWarning, stacklevel=2)
            else:
                values |= {f"words_d:{name}": found.effect_size, f"words_p:{name}": found.p_value}
        return values

    return Measure(METRICS, figures)
