"""A cohort over nodes: each client once, balanced by its work, and packs that the number of nodes does not change."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlm.text.packing import PACK
from fedlm.types import Evaluated
from server.run.chunks import split_chunks, split_packs
from server.run.population import Population


def population(size: int) -> np.ndarray:
    return np.unique(np.random.default_rng(size).integers(0, 2**64, size, np.uint64))


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
    counts = {"train": [90, 30], "validation": [0, 7], "held_out": [1, 0], "documents": [2, 1]}
    told = {name: np.array(values) for name, values in counts.items()}
    merged = Population.merge([(a, told), (b, {})])
    assert merged.pseudonyms.tolist() == [3, 5, 9]
    assert merged.train_tokens.tolist() == [30, -1, 90]
    assert merged.evaluated(Evaluated.HELD_OUT).tolist() == [5, 9]
    assert merged.evaluated(Evaluated.VALIDATION).tolist() == [3, 5]
    assert merged.documents.tolist() == [1, 0, 2]
    asked = np.array([9, 5, 3], np.uint64)
    assert merged.evaluating(asked).tolist() == [1, 1, 1]
    assert merged.evaluating(asked, Evaluated.VALIDATION).tolist() == [1, 1, 7]
    left = merged.without(np.array([5], np.uint64))
    assert left.validation_tokens.tolist() == [7, 0] and left.held_out_tokens.tolist() == [0, 1]


def test_a_client_without_training_text_is_evaluated_and_in_no_cohort() -> None:
    clients = np.array([3, 5, 9], np.uint64)
    told = {name: np.array(v) for name, v in {"train": [4, 0, 6], "held_out": [1, 2, 0]}.items()}
    people = Population.merge([(clients, told)])
    assert people.trainable.tolist() == [3, 9]
    assert people.evaluated(Evaluated.HELD_OUT).tolist() == [3, 5]
    unknown = Population.merge([(clients, {})])
    assert unknown.trainable is clients


def test_the_work_of_training_by_hand() -> None:
    clients, rest = np.arange(5, dtype=np.uint64), np.zeros(5, np.int64)
    # 80 tokens in one document: 1.5 rows of 80, one batch of ten. 800 in one: 10.5, two. 90 in 30 short ones: 30 rows, three.
    # Documents that are not known: a batch more than 800 tokens fill; and a client of whom nothing is known.
    people = Population(clients, np.array([80, 800, 90, 800, -1]), rest, rest, np.array([1, 1, 30, 0, 0], np.uint32))
    assert people.training(clients, 10, 80).tolist() == [9, 17, 25, 17, 9]


def test_chunks_by_documents_are_nearer_to_even_than_chunks_by_tokens() -> None:
    """The same tokens in many short documents are many more rows."""
    clients, tokens = np.arange(4, dtype=np.uint64), np.full(4, 4000)
    people = Population(clients, tokens, tokens, tokens, np.array([400, 10, 400, 10], np.uint32))
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


@given(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=100), st.integers(1, 5), st.randoms())
@settings(max_examples=60, deadline=None)
def test_packs_do_not_depend_on_the_number_of_nodes(clients: list[int], nodes: int, random: Any) -> None:
    in_order = [sorted(clients)[i : i + PACK] for i in range(0, len(clients), PACK)]
    random.shuffle(clients)
    work = np.array([1 + c % 97 for c in clients], np.int64)
    chunks = split_packs(np.array(clients, np.uint64), work, nodes)
    assert len(chunks) == nodes
    packs = [c.tolist()[i : i + PACK] for c in chunks for i in range(0, len(c), PACK)]
    assert sorted(packs) == in_order
