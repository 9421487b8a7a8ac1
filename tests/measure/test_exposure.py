"""Exposure by hand: the rank of a secret among its candidates, and the levels of a model that ranks by chance."""

import math

import pytest

from fedlm.data.planted import Secret
from fedlm.measure.exposure import exposure_by_chance, exposure_of
from fedlm.measure.metric import RunEvidence
from fedlm.types import TextMetrics

LOSS = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}


def test_exposure_and_chance_by_hand() -> None:
    secrets = (Secret("pin ", "b", ("a", "c", "d")), Secret("pin ", "c", ("d",)))  # ranks 2 of 4 and 1 of 2

    def score(texts: object) -> list[TextMetrics]:
        return [TextMetrics(loss_sum=LOSS[t[-1]], tokens=1, characters=1) for t in list(texts)]  # type: ignore[call-overload]

    found = exposure_of(lambda seed: secrets).figures(RunEvidence(score=score))
    assert found["secrets_completed"] == 0.5 and found["secrets_exposure"] == (2 - 1 + 1 - 0) / 2
    assert found["chance_completed"] == (1 / 4 + 1 / 2) / 2
    # Of 4 ranks: 2 - (log2 1 + log2 2 + log2 3 + log2 4) / 4; of 2: 1 - (0 + 1) / 2.
    assert found["chance_exposure"] == pytest.approx((2 - (3 + math.log2(3)) / 4 + 0.5) / 2)


@pytest.mark.parametrize("candidates", [1, 2, 7, 100])
def test_chance_is_the_mean_over_all_ranks(candidates: int) -> None:
    ranks = range(1, candidates + 1)
    mean = sum(math.log2(candidates) - math.log2(r) for r in ranks) / candidates
    assert exposure_by_chance(candidates) == pytest.approx(mean)
