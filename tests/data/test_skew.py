"""Partitions for studies: what they promise, they hold."""

import numpy as np
import pytest

from fedlm.data.partition import partition
from fedlm.data.skew import lognormal_sizes
from fedlm.errors import ConfigError
from fedlm.measure.fairness import gini

ROWS = [{"user": "u", "source": "ab"[i % 3 == 0], "characters": "100"} for i in range(3000)]


@pytest.mark.parametrize("wanted", [0.0, 0.3, 0.6, 0.9])
def test_sizes_have_the_gini_and_the_total_asked_for(wanted: float) -> None:
    sizes = lognormal_sizes(wanted, 40, 3000)
    assert sizes.sum() == 3000 and sizes.min() >= 2
    assert gini(sizes.astype(float)) == pytest.approx(wanted, abs=0.02)


def test_quantity_deals_the_same_amount_whatever_the_skew() -> None:
    for wanted in (0.0, 0.8):
        found = partition(f"quantity(gini={wanted}, clients=20, documents=2000)", ROWS, 1)
        assert (found >= 0).sum() == 2000 and len(set(found[found >= 0])) == 20
    assert (partition("quantity(gini=0.5, clients=20, documents=100)", ROWS, 1) != found).any()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_minority_has_its_share_and_every_client_one_group(share: float) -> None:
    found = partition(f"minority(by='source', group='b', share={share}, clients=20, characters=1000)", ROWS, 2)
    groups = [{ROWS[i]["source"] for i in np.flatnonzero(found == c)} for c in range(20)]
    assert sum(g == {"b"} for g in groups) == share * 20 and sum(g == {"a"} for g in groups) == 20 - share * 20
    assert all((found == c).sum() == 10 for c in range(20))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("quantity(gini=0.99, clients=20, documents=100)", "reach Gini"),
        ("quantity(gini=0.1, clients=20, documents=5000)", "3000 documents, fewer"),
        ("quantity(ginny=0.1)", "does not do"),
        (
            "minority(by='dialect', share=0.5, clients=4, characters=10)",
            "has the label 'dialect'; the corpus has: source",
        ),
        ("minority(by='source', share=0.05, clients=20, characters=10)", "a group with one client"),
        ("minority(by='source', group='z', share=0.5, clients=4, characters=10)", "source=z"),
        ("minority(by='source', share=0.5, clients=20, characters=99999)", "too little text"),
    ],
)
def test_what_cannot_be_is_one_sentence(spec: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        partition(spec, ROWS, 0)
