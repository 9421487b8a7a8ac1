"""Partitions for studies: what they promise, they hold."""

import numpy as np
import pytest

from fedlm.data.partition import partition
from fedlm.data.skew import lognormal_sizes
from fedlm.errors import ConfigError
from fedlm.measure.fairness import effective_number, gini

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
        ("quantity(ginny=0.1)", "has no option 'ginny'; its options are: gini, clients, documents"),
        (
            "minority(by='dialect', share=0.5, clients=4, characters=10)",
            "has the label 'dialect'; the corpus has: source",
        ),
        ("quantity(gini='a', clients=20, documents=100)", "gini='a' of the partition quantity is not a number"),
        ("quantity(gini=0.1)", "needs the options clients, documents"),
        ("quantity(gini=1.0, clients=20, documents=100)", "gini of quantity: 1.0 is not a number >= 0 and < 1"),
        ("quantity(gini=0.1, clients=20, documents=3)", "documents of quantity: 3 is not a number >= 40"),
        ("topics(by='source', alpha=0, clients=20, documents=3)", "alpha of topics: 0 is not a number > 0"),
        (
            "minority(by='source', share=2.0, clients=4, characters=10)",
            "share of minority: 2.0 is not a number >= 0 and",
        ),
        ("minority(by='source', share=0.05, clients=20, characters=10)", "a group with one client"),
        ("minority(by='source', group='z', share=0.5, clients=4, characters=10)", "source=z"),
        ("minority(by='source', share=0.5, clients=20, characters=99999)", "too little text"),
    ],
)
def test_what_cannot_be_is_one_sentence(spec: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        partition(spec, ROWS, 0)


@pytest.mark.parametrize(("alpha", "few", "many"), [(0.02, 1.0, 1.6), (500.0, 3.6, 4.1)])
def test_topics_have_equal_sizes_and_the_concentration_asked_for(alpha: float, few: float, many: float) -> None:
    rows = [{"user": "u", "play": "abcd"[i % 4], "characters": "100"} for i in range(4000)]
    found = partition(f"topics(by='play', alpha={alpha}, clients=20, documents=40)", rows, 3)
    labels = [
        np.unique([rows[i]["play"] for i in np.flatnonzero(found == c)], return_counts=True)[1] for c in range(20)
    ]
    assert all(counts.sum() == 40 for counts in labels)
    effective = [effective_number(counts.astype(float)) for counts in labels]  # of 4 labels, all equally frequent
    assert few <= np.mean(effective) <= many


def test_every_concentration_deals_the_same_documents() -> None:
    dealt = [
        partition(f"topics(by='source', alpha={alpha}, clients=5, documents=12)", ROWS, 3) >= 0
        for alpha in (0.05, 1.0, 1e6)
    ]
    assert dealt[0].sum() == 60
    assert all((one == dealt[0]).all() for one in dealt)


def test_within_cuts_each_value_into_clients_of_one_size() -> None:
    found = partition("within(by='source', characters=1000)", ROWS, 2)
    sources = np.array([row["source"] for row in ROWS])
    sizes = np.array([int(row["characters"]) for row in ROWS])
    for client in range(found.max() + 1):
        own = found == client
        assert len(set(sources[own])) == 1 and own.sum() >= 2
        assert sizes[own].sum() >= 1000 > sizes[own].sum() - sizes.max()
    for value in set(sources):  # what is left out of a value would not make one more client
        assert sizes[(sources == value) & (found == -1)].sum() < 1000


def test_topics_that_run_out_and_topics_that_lack_are_dealt_with() -> None:
    rows = [{"user": "u", "play": "a" if i < 5 else "b", "characters": "100"} for i in range(100)]
    found = partition("topics(by='play', alpha=0.01, clients=10, documents=10)", rows, 3)
    assert (np.bincount(found) == 10).all()  # every document, though many clients wanted the five of "a" only
    with pytest.raises(ConfigError, match="the corpus has: play"):
        partition("topics(by='genre', alpha=1.0, clients=10, documents=10)", rows, 3)
    with pytest.raises(ConfigError, match="fewer than 11 x 10"):
        partition("topics(by='play', alpha=1.0, clients=11, documents=10)", rows, 3)
