"""Association tests on continuations: does a model prefer one kind of word after one kind of beginning more than after another?

For a beginning s and two sets of ends A and B, the association is

    a(s) = mean over e in A of log P(e | s) - mean over e in B of log P(e | s).

For two sets of beginnings X and Y the measure is mean a(X) - mean a(Y); 0 is no association. This is the word embedding
association test (Caliskan et al. 2017, https://doi.org/10.1126/science.aal4230) with log probabilities of continuations
in place of cosines; effect size and permutation test are those of the paper.
"""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedlm.errors import CorpusError
from fedlm.measure.bias import Continue, Gap
from fedlm.rng import Purpose, stream

Values = npt.NDArray[np.float64]
_EXACT, _RANDOM = 20_000, 10_000  # permutation test: all divisions of the beginnings up to here, else so many at random
_LAYOUT = (
    'a JSON of {"name": {"starts": [["The nurse said that"], ["The smith said that"]], "ends": [[" she "], [" he "]]}}'
)


@dataclass(frozen=True)
class AssociationTest:
    """Two sets of beginnings and two sets of ends. An end is appended as it is, so a word starts with its space."""

    starts: tuple[tuple[str, ...], tuple[str, ...]]
    ends: tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Association:
    """What a test found.

    Attributes:
      raw: in nats, with the standard error over beginnings (Welch's).
      per_symbol: the same with the log probability of each end over its symbols.
      effect_size: raw over the standard deviation of all beginnings' associations; NaN where they do not differ.
      p_value: two-sided, from the permutation test: the share of divisions of all beginnings into sets of these sizes whose
        measure is at least as far from 0.
    """

    raw: Gap
    per_symbol: Gap
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
        content = json.loads(path.read_text(encoding="utf-8"))
        tests = {str(name): AssociationTest(_sets(t["starts"]), _sets(t["ends"])) for name, t in content.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CorpusError(f"{path} is not a file of association tests: it is {_LAYOUT}.") from None
    if not tests:
        raise CorpusError(f"{path} has no association test in it; the layout is {_LAYOUT}.")
    return tests


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
    values = _of_starts(logs, first[1])
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    raw = _difference(values, first[0])
    return Association(
        raw,
        _difference(_of_starts(logs / symbols, first[1]), first[0]),
        raw.mean / spread if spread > 0 else math.nan,
        _p_value(values, first[0]),
    )


def _of_starts(logs: Values, first: int) -> Values:
    """The association of each beginning, (starts,)."""
    found: Values = logs[:, :first].mean(axis=1) - logs[:, first:].mean(axis=1)
    return found


def _difference(values: Values, first: int) -> Gap:
    sides: Sequence[Values] = (values[:first], values[first:])
    error = math.sqrt(sum(float(np.var(v, ddof=1)) / len(v) if len(v) > 1 else math.nan for v in sides))
    return Gap(float(sides[0].mean() - sides[1].mean()), error, len(values))


def _p_value(values: Values, first: int) -> float:
    """Two-sided p. For random divisions it is (as far + 1) / (drawn + 1): the observed division counts as one of them."""
    number = len(values)
    seen = abs(values[:first].mean() - values[first:].mean())
    exact = math.comb(number, first) <= _EXACT
    if exact:
        chosen = np.array(list(itertools.combinations(range(number), first)))
    else:
        rng = stream(number, Purpose.PERMUTATION, 0, first)
        chosen = np.argsort(rng.random((_RANDOM, number)), axis=1)[:, :first]
    sums = values[chosen].sum(axis=1)
    others = np.abs(sums / first - (values.sum() - sums) / (number - first))
    as_far = int(
        np.sum(others >= seen * (1 - 1e-12))
    )  # rounding: the observed division, summed in another order, counts as equal
    return as_far / len(chosen) if exact else (as_far + 1) / (_RANDOM + 1)
