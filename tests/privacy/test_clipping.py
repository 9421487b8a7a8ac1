import math

import numpy as np
import pytest

from fedlm.privacy.clipping import clip, l2_norm


def test_norm_is_over_all_arrays_and_does_not_overflow() -> None:
    assert l2_norm((np.array([3.0], np.float32), np.array(4.0, np.float32))) == 5.0
    assert l2_norm((np.array([3e38, 4e38 / 4], np.float32),)) == pytest.approx(math.hypot(3e38, 1e38), rel=1e-6)


@pytest.mark.parametrize("size", [0.0, 1e-30, 0.7, 1.0, 1.0000001, 1e6, 3e38])
def test_clipped_norm_is_at_most_the_bound_and_small_updates_stay(size: float) -> None:
    update = (np.array([[size * 0.6]], np.float32), np.array(size * 0.8, np.float32))
    clipped = clip(update, 1.0)
    assert l2_norm(clipped.arrays) <= 1.0
    assert [a.shape for a in clipped.arrays] == [(1, 1), ()]
    if size < 1:
        assert clipped.was_below and all(np.array_equal(a, u) for a, u in zip(clipped.arrays, update, strict=True))
    if size > 1.001:
        assert not clipped.was_below and l2_norm(clipped.arrays) == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_cannot_be_bounded_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="cannot be bounded"):
        clip((np.array([1.0, bad], np.float32),), 1.0)


@pytest.mark.parametrize("bound", [0.0, -1.0, math.nan, math.inf])
def test_bound_must_be_positive_and_finite(bound: float) -> None:
    with pytest.raises(ValueError, match="max_norm"):
        clip((np.zeros(2, np.float32),), bound)
