"""A coordinator that asks twice: sums over sets that differ by one client, other cohorts, other evaluation sets.

Each attack is played against the guard of a real vault. A sum over five of six clients, taken from the sum over all six, is
the sixth client's update; that is why the second of two such questions is refused.
"""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message, MetricRecord, RecordDict

from clients.policy import Policy
from fedlm.config import RunConfig
from fedlm.errors import VaultError
from fedlm.privacy.sampling import cohort_key, sample_cohort
from fedlm.types import Evaluated
from tests.support.owners import Owner, changed, evaluation, reason, sealed, training

pytestmark = pytest.mark.flower
CONFIG = RunConfig(rounds=5, cohort_size=6, model="lstm(units=4, layers=1)")


def echo(message: Message) -> Message:
    """Stands for the node where only the guard is attacked."""
    return Message(RecordDict({"metrics": MetricRecord({"clients": 9})}), reply_to=message)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    yield Owner(sealed(tmp_path, {f"u{i}": [f"tea {i}", f"cake {i}"] for i in range(6)}), work=echo)


def test_every_set_of_five_after_all_six_is_refused(owner: Owner) -> None:
    everyone = owner.clients
    assert not owner.asked(training(CONFIG, everyone)).has_error()
    for five in combinations(everyone.tolist(), 5):
        assert "reveal" in (said := reason(owner.ask(training(CONFIG, five)))) or "seed draws" in said
    for some in (everyone[:1], everyone[:2], everyone[3:], everyone[::-1]):
        assert reason(owner.ask(training(CONFIG, some)))


def test_other_weights_for_the_same_clients_are_refused(owner: Owner) -> None:
    assert not owner.asked(training(CONFIG, owner.clients, (np.zeros(3, np.float32),))).has_error()
    assert "could reveal it" in reason(owner.ask(training(CONFIG, owner.clients, (np.ones(3, np.float32),))))


def test_a_restart_forgets_nothing(owner: Owner) -> None:
    assert not owner.asked(training(CONFIG, owner.clients)).has_error()
    owner.start()
    assert not owner.ask(training(CONFIG, owner.clients)).has_error()  # a message that was lost on its way back
    assert reason(owner.ask(training(CONFIG, owner.clients[:5])))
    assert reason(owner.ask(training(CONFIG, owner.clients, told={"clip-norm": 1.0})))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_node_draws_its_own_chunk_again(owner: Owner, size: int) -> None:
    config = changed(CONFIG, cohort_size=size)
    drawn = sample_cohort(cohort_key(config.seed), 1, owner.clients, size)
    others = np.setdiff1d(owner.clients, drawn)
    assert not owner.asked(training(config, drawn)).has_error()
    # In the second round the node knows whom it was asked for: a chunk that leaves one of them out is none of the seed's.
    second = sample_cohort(cohort_key(config.seed), 2, owner.clients, size)
    swapped = np.append(second[:-1], others[~np.isin(others, second)][:1])
    if np.isin(second[-1], drawn) and len(swapped) == size:
        assert "seed draws" in reason(owner.ask(training(config, swapped, number=2)))
    assert reason(owner.ask(training(config, owner.clients, number=2))) if size < 6 else True  # more than a cohort


def test_a_coordinator_does_not_choose_whom_it_leaves_out(owner: Owner) -> None:
    first = sample_cohort(cohort_key(CONFIG.seed), 1, owner.clients, 6)
    for some in (first[1:], first[[3, 5]], first[2:]):
        assert "max_left_out" in reason(owner.asked(training(CONFIG, some)))
    assert not owner.ask(training(CONFIG, first)).has_error()


def test_single_updates_are_answered_where_the_owner_accepted_them(owner: Owner) -> None:
    config = changed(CONFIG, aggregation="per_client")
    assert Policy().questions(config)
    for client in owner.clients:
        assert not owner.asked(training(config, [int(client)])).has_error()
    owner.policy = Policy()
    owner.start()
    assert "min_chunk_clients" in reason(owner.ask(training(config, owner.clients[:1], number=2)))


@pytest.mark.slow
def test_a_client_that_the_vault_has_forgotten_fails_alone(tmp_path: Path) -> None:
    owner = Owner(sealed(tmp_path, {f"u{i}": [f"tea {i}"] for i in range(3)}))
    config = changed(CONFIG, cohort_size=7)
    reply = owner.asked(training(config, [*owner.clients.tolist(), 5], owner.initial(config)))
    metrics = reply.content["metrics"]
    assert (metrics["clients"], metrics["failed"], metrics["unopened"]) == (3, 1, 1)


@pytest.mark.parametrize("damage", ["flipped", "folder", "truncated"])
def test_a_damaged_memory_answers_nothing(owner: Owner, damage: str) -> None:
    assert not owner.asked(training(CONFIG, owner.clients)).has_error()
    file = owner.path.with_name("v.memory")
    content = bytearray(file.read_bytes())
    if damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        content[100:] = b"\xff" * (len(content) - 100) if damage == "flipped" else b""
        file.write_bytes(bytes(content))
    with pytest.raises(VaultError, match=r"memory .* is damaged"):
        owner.start()
        said = reason(owner.ask(training(CONFIG, owner.clients, number=2)))
        raise VaultError(said)


def test_a_client_is_left_out_for_the_whole_run_or_not_at_all(owner: Owner) -> None:
    owner.policy = Policy(min_chunk_clients=1, min_group=1, max_left_out=1)
    owner.start()
    first = sample_cohort(cohort_key(CONFIG.seed), 1, owner.clients, 6)
    assert not owner.asked(training(CONFIG, first[1:])).has_error()  # another node holds the first one too, it may be
    assert "seed draws" in reason(owner.ask(training(CONFIG, owner.clients, number=2)))
    others = sample_cohort(cohort_key(CONFIG.seed), 2, first[1:], 5)  # in the order of the second round
    assert "seed draws" in reason(owner.ask(training(CONFIG, others[1:], number=2)))
    assert not owner.ask(training(CONFIG, first[1:], number=2)).has_error()


def test_rounds_and_attempts_outside_the_manifest_are_refused(owner: Owner) -> None:
    assert not owner.asked(training(CONFIG, owner.clients)).has_error()
    for number, attempt in ((0, 0), (6, 0), (2, 1), (2**40, 0)):
        assert reason(owner.ask(training(CONFIG, owner.clients, number=number, attempt=attempt)))


def test_evaluation_has_one_set_of_clients_for_the_whole_run(owner: Owner) -> None:
    assert not owner.asked(evaluation(CONFIG, owner.clients)).has_error()
    for some in (owner.clients[:5], owner.clients[1:], owner.clients[:1]):
        for number in (1, 2):
            assert "one set of clients" in reason(owner.ask(evaluation(CONFIG, some, number)))
    assert not owner.ask(evaluation(CONFIG, owner.clients, 2)).has_error()
    crafted = (np.ones(3, np.float32),)
    assert "once per round" in reason(owner.ask(evaluation(CONFIG, owner.clients, 2, crafted)))


def test_another_run_is_another_question_to_the_owner(owner: Owner) -> None:
    assert not owner.asked(training(CONFIG, owner.clients)).has_error()
    five = sample_cohort(cohort_key(CONFIG.seed), 1, owner.clients, 5)
    for run, config in (("a run", changed(CONFIG, cohort_size=5)), ("another", CONFIG)):
        assert "waits for this node's owner" in reason(owner.ask(training(config, five), run))


@pytest.mark.parametrize(("few", "allowed"), [(0, False), (1, False), (2, True), (3, True)])
def test_a_chunk_has_the_owners_least_number_of_clients(owner: Owner, few: int, allowed: bool) -> None:
    owner.policy = Policy()
    owner.start()
    drawn = sample_cohort(cohort_key(CONFIG.seed), 1, owner.clients, few)
    assert ("min_chunk_clients" in reason(owner.asked(training(CONFIG, drawn)))) != allowed


@pytest.mark.parametrize("invented", [[1], [1, 2, 3], [2**64 - 1]])
def test_invented_clients_hide_nobody(owner: Owner, invented: list[int]) -> None:
    owner.policy = Policy()
    owner.start()
    first = sample_cohort(cohort_key(CONFIG.seed), 1, owner.clients, 1)
    assert "min_chunk_clients" in reason(owner.asked(training(CONFIG, [*first.tolist(), *invented])))


@pytest.mark.slow
def test_updates_that_are_not_finite_leave_no_sum_of_one_client(tmp_path: Path) -> None:
    """Crafted weights whose gradient is infinite for some symbols: only a client without those symbols is summed."""
    texts = {"a": ["aaaa aaaa"], "b": ["bbbb bbbb"], "c": ["bbbb bbbb bbbb"]}
    config = changed(CONFIG, cohort_size=3, model="rnn(units=4, layers=1)", seq_len=8)
    config = changed(config, client_optimizer="sgd(learning_rate=0.0)")
    for least, allowed in ((1, True), (2, False)):
        folder = tmp_path / str(least)
        folder.mkdir()
        owner = Owner(sealed(folder, texts), Policy(min_chunk_clients=least, min_group=1))
        crafted = [w.copy() for w in owner.initial(config)]
        crafted[0][config.vocab.encode("b")[0]] = 3e38
        crafted[0][config.vocab.encode("a ")] = 0
        crafted[1][:], crafted[4][:] = 1, 3e38  # h is 1 for it, and its logits are infinite
        said = reason(owner.asked(training(config, owner.clients, tuple(crafted), number=2), f"run {least}"))
        assert ("could be trained" in said) != allowed, said


def test_a_run_without_validation_text_in_its_manifest_does_not_read_it(owner: Owner) -> None:
    asked = evaluation(CONFIG, owner.clients, part=Evaluated.VALIDATION)
    assert "the run's manifest does not" in reason(owner.asked(asked))
    assert not owner.ask(evaluation(CONFIG, owner.clients)).has_error()


def test_a_run_with_validation_text_reads_held_out_text_under_one_model_only(owner: Owner) -> None:
    config = changed(CONFIG, validation_fraction=0.1, rounds=5)
    crafted = (np.ones(3, np.float32),)
    for number in (1, 2, 3):
        asked = evaluation(config, owner.clients, number, part=Evaluated.VALIDATION)
        assert not (owner.asked if number == 1 else owner.ask)(asked).has_error()
    assert "once per round" in reason(
        owner.ask(evaluation(config, owner.clients, 3, crafted, part=Evaluated.VALIDATION))
    )
    end = evaluation(config, owner.clients, 2)  # the best of the rounds
    assert not owner.ask(end).has_error() and not owner.ask(end).has_error()
    for number, weights in ((3, ()), (2, crafted), (5, crafted)):
        said = reason(owner.ask(evaluation(config, owner.clients, number, weights)))
        assert "reads held-out text once, at its end" in said
    assert "once" in reason(owner.ask(evaluation(config, owner.clients[:-1], 2)))
    longer = changed(config, rounds=6)  # another manifest, which the owner accepts again
    assert not owner.asked(evaluation(longer, owner.clients, 6, crafted)).has_error()


def test_an_evaluation_has_the_owners_least_number_of_clients(tmp_path: Path) -> None:
    path = sealed(tmp_path, {f"u{i}": ["tea and cake", "cake"] for i in range(3)}, holdout=0.5)
    for least, allowed in ((3, True), (4, False)):
        owner = Owner(path, Policy(min_group=least))
        asked = evaluation(CONFIG, owner.clients, least, owner.initial(CONFIG))
        assert ("min_group" in reason(owner.asked(asked, f"run {least}"))) != allowed
