"""Early stopping by hand: what is best, when it is over, and that metrics alone bring it back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from server.run.early_stopping import Best


def test_gains_must_be_larger_than_the_smallest_one() -> None:
    best = Best(patience=2, min_gain=0.1)
    assert [best.add(r, loss) for r, loss in enumerate([3.0, 2.95, 2.8, 2.75])] == [True, False, True, False]
    assert (best.round, best.loss, best.is_over) == (2, 2.8, False)
    assert not best.add(4, float("nan")) and best.is_over


@given(st.lists(st.floats(0, 9), min_size=1, max_size=20), st.integers(0, 20))
def test_metrics_bring_it_back(losses: list[float], crash: int) -> None:
    config = RunConfig.checked({"patience": 3})
    lines = [{"round": r, "eval": {"loss": loss}} for r, loss in enumerate(losses)]
    whole, resumed = Best.of(lines, config), Best.of(lines[:crash], config)
    for line in lines[crash:]:
        resumed.add(line["round"], line["eval"]["loss"])
    assert whole == resumed and whole.loss == min(losses)


def test_needs_held_out_text() -> None:
    with pytest.raises(ConfigError, match="held-out"):
        Best(1, 0.0).add(0, float("nan"))
