"""The audit's formulae against hand-worked values; broken mechanisms are caught and right ones are not."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fedlm.config import RunConfig
from fedlm.data.corpus import open_corpus
from fedlm.data.planted import COIN_CANARIES, coins
from fedlm.measure.metric import RunEvidence
from fedlm.privacy.audit import Guesses, guess, lower_bound, noise_p_value, p_value, released_canaries
from fedlm.privacy.planning import plan
from fedlm.privacy.settings import PrivacySettings
from fedlm.types import TextMetrics
from scenarios.privacy_audit import AUDIT


def private(**more: Any) -> PrivacySettings:
    values = {
        "mechanism": "gaussian",
        "weighting": "uniform",
        "max_client_tokens": 10**6,
        "sampling_rate": 1.0,
        "clip_norm": 0.5,
    }
    return RunConfig.checked({**values, **more}).privacy


def test_all_guesses_right_under_pure_privacy_by_hand() -> None:
    # (e^eps / (1 + e^eps))^r = 0.05: with r = 10 the odds are 0.05^(1/10) to the rest.
    share = 0.05 ** (1 / 10)
    assert lower_bound(Guesses(10, 10, 10), 0.0) == pytest.approx(math.log(share / (1 - share)))
    assert p_value(Guesses(10, 10, 10), 0.0, 0.0) == pytest.approx(2**-10)


def test_some_guesses_right_under_pure_privacy_is_clopper_and_pearsons_bound() -> None:
    # P(Bin(r, p) >= v) = 0.05 is solved by the 5 % quantile of Beta(v, r - v + 1).
    share = stats.beta.ppf(0.05, 70, 31)
    assert lower_bound(Guesses(100, 100, 70), 0.0) == pytest.approx(math.log(share / (1 - share)))


def test_delta_adds_its_term_by_hand() -> None:
    # eps = 0, two guesses, both right: beta = 1/4; i = 1: P(W = 1) / 1 = 1/2; i = 2: (P(W = 1) + P(W = 0)) / 2 = 3/8.
    assert p_value(Guesses(2, 2, 2), 0.0, 0.01) == pytest.approx(1 / 4 + 2 * 2 * 0.01 * 1 / 2)
    assert p_value(Guesses(2, 2, 0), 0.0, 0.01) == 1.0
    assert lower_bound(Guesses(100, 100, 90), 1e-3) < lower_bound(Guesses(100, 100, 90), 0.0)


def test_randomised_response_is_bounded_below_its_epsilon_and_not_far() -> None:
    # The optimal guess against it is right with probability e^eps / (1 + e^eps): the bound is tight.
    epsilon, rng = 1.5, np.random.default_rng(0)
    bounds = []
    for _ in range(100):
        correct = rng.binomial(500, 1 / (1 + math.exp(-epsilon)))
        bounds.append(lower_bound(Guesses(500, 500, int(correct)), 0.0))
    assert np.mean(np.array(bounds) > epsilon) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 100)
    assert np.mean(bounds) == pytest.approx(epsilon, abs=0.3)


def test_guesses_are_taken_from_both_ends_of_the_ranking() -> None:
    inside = np.array([True, False, True, False, True, False])
    scores = np.array([9.0, 8.0, 5.0, 4.0, 2.0, 1.0])
    assert guess(inside, scores, 1 / 3) == Guesses(6, 2, 2)  # 9.0 is in, 1.0 is out
    assert guess(inside, scores, 2 / 3) == Guesses(6, 4, 2)  # 8.0 is out, 2.0 is in
    for wrong in (np.zeros(5), np.full(6, math.nan)):
        with pytest.raises(ValueError, match="Expected"):
            guess(inside, wrong, 0.5)


def test_coins_put_whole_clients_in_or_leave_them_out() -> None:
    documents = list(open_corpus("coins(seed=3, documents=4, length=7)"))
    assert [d.text for d in documents] == [
        c * 7 for c, i in zip(COIN_CANARIES, coins(3), strict=True) if i for _ in "four"
    ]
    assert len({d.user for d in documents}) == coins(3).sum()
    thrown = np.concatenate([coins(s) for s in range(200)])
    assert thrown.mean() == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(len(thrown)))


def test_probe_of_the_study_by_hand() -> None:
    """A model that finds the characters of those inside likelier is read without a mistake; one that does not, not."""
    inside = dict(zip(COIN_CANARIES, coins(1), strict=True))

    def tells(texts: Sequence[str]) -> list[TextMetrics]:
        return [TextMetrics(1.0 if inside[t[0]] else 2.0, 0, len(t), len(t)) for t in texts]

    found = AUDIT.figures(RunEvidence(seed=1, score=tells))
    assert found["right_guesses"] == 1.0 and found["audited_epsilon"] > CLAIM
    other = RunEvidence(seed=1, score=lambda texts: [TextMetrics(ord(t[0]), 0, 1, 1) for t in texts])
    assert AUDIT.figures(other)["audited_epsilon"] < 0.5


CANARIES, SHARE, CLAIM, DELTA = 10_000, 0.04, 2.0, 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("clip_norm", [0.5, 4.0])
def test_ten_thousand_orthogonal_canaries_catch_halved_noise_and_pass_the_right_one(clip_norm: float) -> None:
    z = plan(target=CLAIM, delta=DELTA, rounds=1, sampling_rate=1.0)
    settings, rng = private(noise_multiplier=z, clip_norm=clip_norm), np.random.default_rng(1)
    found = {}
    for noise in (1.0, 0.5):
        inside = rng.random(CANARIES) < 0.5
        scores = released_canaries(settings, inside, noise=noise, source=rng.bytes)
        found[noise] = lower_bound(guess(inside, scores, SHARE), DELTA)
    assert 0 < found[1.0] < CLAIM < found[0.5]


def test_without_noise_every_canary_is_found() -> None:
    inside = np.random.default_rng(2).random(CANARIES) < 0.5
    found = guess(inside, released_canaries(private(noise_multiplier=0.0), inside), SHARE)
    assert found.correct == found.made == 400 and lower_bound(found, DELTA) > 2 * CLAIM


def test_chi_square_of_the_released_sum_catches_a_twentieth_of_missing_noise() -> None:
    settings, rng = private(noise_multiplier=1.0), np.random.default_rng(3)
    nobody = np.zeros(CANARIES, bool)
    right = noise_p_value(released_canaries(settings, nobody, source=rng.bytes))
    halved, less = (noise_p_value(released_canaries(settings, nobody, noise=n, source=rng.bytes)) for n in (0.5, 0.95))
    assert right > 1e-3 and halved < 1e-100 and less < 1e-6
