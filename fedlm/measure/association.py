"""Association tests on continuations: does a model prefer one kind of word after one kind of beginning more than after another?

For a beginning s and two sets of ends A and B, the association is

    a(s) = mean over e in A of log P(e | s) - mean over e in B of log P(e | s).

For two sets of beginnings X and Y the measure is mean a(X) - mean a(Y); 0 is no association. This is the word embedding
association test (Caliskan et al. 2017, https://doi.org/10.1126/science.aal4230) with log probabilities of continuations
in place of cosines; effect size and permutation test are those of the paper.

Beginnings about one target word are not independent. They are one cluster: the standard error is clustered (`spans.clustered`
on each side), and the permutation test moves whole clusters.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fedlm.data.lines import json_of, read_text
from fedlm.errors import CorpusError
from fedlm.measure.metric import Continue
from fedlm.measure.permutation import division_p
from fedlm.measure.spans import Gap, clustered
from fedlm.measure.statistics import LEVEL, Interval, Values, t_quantile

_LAYOUT = (
    'a JSON of {"name": {"starts": [["The nurse said that"], ["The smith said that"]], "ends": [[" she "], [" he "]]}}'
)


@dataclass(frozen=True)
class AssociationTest:
    """Two sets of beginnings and two sets of ends. An end is appended as it is, so a word starts with its space.

    Attributes:
      starts, ends: the sets.
      words: the target word of each beginning; beginnings of one word are one cluster, and by default each has its own.
    """

    starts: tuple[tuple[str, ...], tuple[str, ...]]
    ends: tuple[tuple[str, ...], tuple[str, ...]]
    words: tuple[tuple[str, ...], tuple[str, ...]] | None = None

    def clusters(self) -> tuple[list[str], list[str]]:
        """Returns the cluster of each beginning, by side."""
        known = self.words or self.starts
        return [f"0{w}" for w in known[0]], [f"1{w}" for w in known[1]]


@dataclass(frozen=True)
class Association:
    """What a test found.

    Attributes:
      raw: in nats, with the standard error clustered by target word; NaN where a side has one word.
      per_symbol: the same with the log probability of each end over its symbols.
      interval: of raw, 95 %: Student's t with the degrees of freedom of Welch and Satterthwaite, which are few where there are
        few words; its count is that of the words.
      effect_size: raw over the standard deviation of all beginnings' associations; NaN where they do not differ.
      p_value: two-sided, from the permutation test: the share of divisions of all target words into sets of these sizes whose
        measure is at least as far from 0.
    """

    raw: Gap
    per_symbol: Gap
    interval: Interval
    effect_size: float
    p_value: float

    def to_dict(self) -> dict[str, object]:
        """Returns plain values for JSON."""
        return asdict(self)


def read_tests(path: Path) -> dict[str, AssociationTest]:
    """Reads a file of association tests, by name.

    Raises:
      CorpusError: it is missing, empty, or of another layout.
    """
    if not path.is_file():
        raise CorpusError(f"There is no file of association tests {path}.")
    try:
        content = json_of(read_text(path), str(path))
        tests = {str(name): _test(t) for name, t in content.items()}
    except CorpusError as error:
        raise CorpusError(f"{str(error).rstrip('.')}; a file of association tests is {_LAYOUT}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CorpusError(f"{path} is not a file of association tests: it is {_LAYOUT}.") from None
    if not tests:
        raise CorpusError(f"{path} has no association test in it; the layout is {_LAYOUT}.")
    return tests


def _test(value: dict[str, object]) -> AssociationTest:
    starts = value["starts"]
    grouped = [[[b] if isinstance(b, str) else b for b in side] for side in starts]  # type: ignore[attr-defined]
    if not all(isinstance(group, list) and group for side in grouped for group in side):
        raise ValueError
    words = [tuple(str(place) for place, group in enumerate(side) for _ in group) for side in grouped]
    beginnings = _sets([[b for group in side for b in group] for side in grouped])
    return AssociationTest(beginnings, _sets(value["ends"]), (words[0], words[1]))


def _sets(value: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(side, list) and side for side in value)):
        raise ValueError
    if not all(isinstance(text, str) and text for side in value for text in side):
        raise ValueError
    return tuple(value[0]), tuple(value[1])


def occupation_test(shares: dict[str, float]) -> AssociationTest:
    """Returns the test of pronouns after occupations: those with more women than men, against those with fewer.

    Args:
      shares: percentage of women in each, official figures.
    """
    women, men = ([o for o, s in shares.items() if sign * s > sign * 50] for sign in (1, -1))
    starts = tuple(f"The {o} said that" for o in women), tuple(f"The {o} said that" for o in men)
    return AssociationTest(starts, ((" she ",), (" he ",)))


def association(test: AssociationTest, score: Continue) -> Association:
    """Runs one test.

    Args:
      test: whose starts and ends.
      score: sums over each end after its beginning.
    """
    starts, ends = [*test.starts[0], *test.starts[1]], [*test.ends[0], *test.ends[1]]
    figures = score([(start, end) for start in starts for end in ends])
    shape = (len(starts), len(ends))
    logs = np.array([-f.loss_sum for f in figures]).reshape(shape)
    symbols = np.array([max(f.tokens, 1) for f in figures]).reshape(shape)
    first = (len(test.starts[0]), len(test.ends[0]))
    clusters = test.clusters()
    values = _of_starts(logs, first[1])
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    raw, freedom = _difference(values, clusters)
    return Association(
        raw,
        _difference(_of_starts(logs / symbols, first[1]), clusters)[0],
        _interval(raw, freedom, len(set(clusters[0])) + len(set(clusters[1]))),
        raw.mean / spread if spread > 0 else math.nan,
        _p_value(values, clusters),
    )


def _of_starts(logs: Values, first: int) -> Values:
    """The association of each beginning, (starts,)."""
    found: Values = logs[:, :first].mean(axis=1) - logs[:, first:].mean(axis=1)
    return found


def _difference(values: Values, clusters: tuple[list[str], list[str]]) -> tuple[Gap, float]:
    """The difference of the sides' means with its clustered error, and the degrees of freedom (Satterthwaite 1946).

    Each side's variance has the factor G / (G - 1) for its G clusters; clusters of one beginning give Welch's error.
    """
    first = len(clusters[0])
    gaps = [clustered(v, c) for v, c in zip((values[:first], values[first:]), clusters, strict=True)]
    variances = [gap.standard_error**2 for gap in gaps]
    total = sum(variances)
    parts = sum(v**2 / (len(set(c)) - 1) for v, c in zip(variances, clusters, strict=True) if len(set(c)) > 1)
    freedom = total**2 / parts if total > 0 else math.nan
    return Gap(gaps[0].mean - gaps[1].mean, math.sqrt(total), len(values)), freedom


def _interval(raw: Gap, freedom: float, words: int) -> Interval:
    if raw.standard_error == 0:  # all words of a side alike
        return Interval(raw.mean, raw.mean, raw.mean, words)
    half = raw.standard_error * (math.nan if math.isnan(freedom) else t_quantile(1 - LEVEL / 2, freedom))
    return Interval(raw.mean, raw.mean - half, raw.mean + half, words)


def _p_value(values: Values, clusters: tuple[list[str], list[str]]) -> float:
    """The permutation test over whole clusters: the beginnings of one word are not exchangeable with those of another."""
    names = list(dict.fromkeys([*clusters[0], *clusters[1]]))  # those of the first side come first
    places = [names.index(c) for c in (*clusters[0], *clusters[1])]
    sums = np.bincount(places, values).astype(np.float64)
    counts = np.bincount(places).astype(np.float64)
    return division_p(sums, counts, len(set(clusters[0])), len(names))
