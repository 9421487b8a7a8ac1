import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm.privacy.sampling import _BLOCK, cohort_key, draw_cohort, scores, split_chunks
from server.run.population import Population

KEY = cohort_key(7)


def population(size: int) -> np.ndarray:
    return np.unique(np.random.default_rng(size).integers(0, 2**64, size, np.uint64))


@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 9))
def test_cohort_is_the_smallest_scores(size: int, cohort: int, server_round: int) -> None:
    everyone = population(size)
    drawn = draw_cohort(KEY, server_round, everyone, cohort)
    by_score = sorted(zip(scores(KEY, server_round, everyone), everyone, strict=True))
    assert drawn.tolist() == [p for _, p in by_score[:cohort]]


def test_order_of_the_population_does_not_matter() -> None:
    everyone = population(500)
    assert np.array_equal(draw_cohort(KEY, 3, everyone, 20), draw_cohort(KEY, 3, everyone[::-1].copy(), 20))


@given(st.integers(0, 99), st.integers(1, 30))
def test_a_client_that_leaves_changes_only_the_rounds_that_it_was_in(gone: int, server_round: int) -> None:
    everyone = population(100)
    before = draw_cohort(KEY, server_round, everyone, 10)
    after = draw_cohort(KEY, server_round, np.delete(everyone, gone), 10)
    if everyone[gone] in before:
        assert len(set(before) - set(after)) == 1
    else:
        assert np.array_equal(before, after)


def test_everyone_is_drawn_equally_often() -> None:
    everyone, rounds = population(50), 4000
    drawn = np.concatenate([draw_cohort(KEY, r, everyone, 5) for r in range(rounds)])
    counts = np.array([np.sum(drawn == p) for p in everyone])
    expected = rounds * 5 / 50  # each count is binomial: variance 400 * 0.9
    chi2 = np.sum((counts - expected) ** 2 / (expected * 0.9)) * 49 / 50
    assert chi2 < 49 + 5 * np.sqrt(2 * 49)


def test_other_key_other_cohort() -> None:
    everyone = population(1000)
    assert set(draw_cohort(KEY, 1, everyone, 10)) != set(draw_cohort(cohort_key(8), 1, everyone, 10))


@pytest.mark.parametrize("nodes", [1, 2, 5])
def test_chunks_hold_each_client_once_and_balance(nodes: int) -> None:
    clients, work = population(40), np.arange(1, 41)
    chunks = split_chunks(clients, work, nodes)
    assert len(chunks) == nodes
    assert sorted(np.concatenate(chunks)) == sorted(clients)
    place = dict(zip(clients, work, strict=True))
    loads = [sum(place[p] for p in chunk) for chunk in chunks]
    assert max(loads) - min(loads) <= 40


def test_longest_first_by_hand() -> None:
    clients = np.array([1, 2, 3, 4], np.uint64)
    assert [c.tolist() for c in split_chunks(clients, np.array([5, 4, 3, 2]), 2)] == [[1, 4], [2, 3]]


def test_population_counts_a_pseudonym_of_two_vaults_once() -> None:
    a, b = np.array([9, 3], np.uint64), np.array([3, 5], np.uint64)
    told = {"train": np.array([90, 30]), "held_out": np.array([1, 0]), "documents": np.array([2, 1])}
    merged = Population.merge([(a, told), (b, {})])
    assert merged.pseudonyms.tolist() == [3, 5, 9]
    assert merged.train_tokens.tolist() == [30, -1, 90]
    assert merged.with_held_out.tolist() == [5, 9]
    assert merged.documents.tolist() == [1, 0, 2]
    assert merged.evaluating(np.array([9, 5, 3], np.uint64)).tolist() == [1, 1, 1]


def test_the_work_of_training_by_hand() -> None:
    clients, rest = np.arange(5, dtype=np.uint64), np.zeros(5, np.int64)
    # 80 tokens in one document: 1.5 rows of 80, one batch of ten. 800 in one: 10.5, two. 90 in 30 short ones: 30 rows, three.
    # Documents that are not known: a batch more than 800 tokens fill; and a client of whom nothing is known.
    people = Population(clients, np.array([80, 800, 90, 800, -1]), rest, np.array([1, 1, 30, 0, 0], np.uint32))
    assert people.training(clients, 10, 80).tolist() == [9, 17, 25, 17, 9]


def test_chunks_by_documents_are_nearer_to_even_than_chunks_by_tokens() -> None:
    """The same tokens in many short documents are many more rows."""
    clients, tokens = np.arange(4, dtype=np.uint64), np.full(4, 4000)
    people = Population(clients, tokens, tokens, np.array([400, 10, 400, 10], np.uint32))
    chunks = split_chunks(clients, people.training(clients, 10, 80), 2)
    assert [sum(int(c) % 2 for c in chunk) for chunk in chunks] == [1, 1]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20), st.integers(0, 40))
def test_clients_are_found_in_their_vault_as_a_search_through_all_finds_them(others: list[int], size: int) -> None:
    held = population(size)
    clients = np.array([*held[::2].tolist(), *others], np.uint64)
    everybody = Population.merge([(held, {})], [(b"v", 2)])
    ((nodes, found),) = everybody.by_vault(clients, [2])
    assert nodes == (2,)
    assert found.tolist() == [c for c in clients.tolist() if c in set(held.tolist())]


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_a_cohort_drawn_block_by_block_is_that_of_all_scores(size: int) -> None:
    everyone = population(3 * _BLOCK + 5)
    found = scores(KEY, 2, everyone)
    assert np.array_equal(draw_cohort(KEY, 2, everyone, size), everyone[np.lexsort((everyone, found))[:size]])


def test_two_nodes_of_one_vault_are_one_population_and_hold_it_once() -> None:
    held = population(50)
    told = (held, {"train": np.arange(50, dtype=np.uint32)})
    once = Population.merge([told, told], [(b"v", 2), (b"v", 3)])
    apart = Population.merge([told, (held.copy(), dict(told[1]))], [(b"v", 2), (b"v", 3)])
    for found in (once, apart):
        assert np.array_equal(found.pseudonyms, held) and found.train_tokens.tolist() == list(range(50))
        assert set(found.held_out_tokens.tolist()) == {-1}
        ((nodes, lies),) = found.vaults
        assert nodes == (2, 3) and np.array_equal(lies, held)
    assert once.pseudonyms is held and once.vaults[0][1] is held
