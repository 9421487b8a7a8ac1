"""A second noised copy of one update: averaged with the first it has less noise than the ledger states."""

from pathlib import Path

import pytest
from flwr.app import ArrayRecord, Message
from flwr.common.serde import recorddict_to_proto

from clients.policy import Policy
from fedlm.config import RunConfig
from fedlm.messages.records import records_in
from tests.support.owners import Owner, changed, evaluation, reason, sealed, training

pytestmark = [pytest.mark.flower, pytest.mark.slow]
PRIVATE = {
    "mechanism": "local",
    "weighting": "uniform",
    "clip_norm": 0.01,
    "max_client_tokens": 8000,
    "noise_multiplier": 1.0,
    "sampling_rate": 1.0,
}
CONFIG = RunConfig(rounds=3, model="lstm(units=4, layers=1)", **PRIVATE)
TOLD = {"clip-norm": 0.01}


def sums(reply: Message) -> bytes:
    """Returns the noised sums of a reply, as bytes."""
    assert not reply.has_error(), reply.error
    return b"".join(a.data for record in records_in(reply.content, ArrayRecord).values() for a in record.values())


def test_one_request_has_one_reply_also_after_a_restart(tmp_path: Path) -> None:
    owner = Owner(sealed(tmp_path, {"a": ["tea"], "b": ["cake"]}))
    weights = owner.initial(CONFIG)
    asked = training(CONFIG, owner.clients, weights, told=TOLD)
    first = sums(owner.asked(asked))
    assert sums(owner.ask(asked)) == first
    owner.start()
    assert sums(owner.ask(asked)) == first
    other = training(CONFIG, owner.clients, weights, number=2, told=TOLD)
    assert sums(owner.ask(other)) != first
    for _ in range(2):  # its reply is no longer kept: computed again, it would have fresh noise
        assert "answered before" in reason(owner.ask(asked))
        owner.start()


def test_another_accepted_run_has_noise_of_its_own(tmp_path: Path) -> None:
    owner = Owner(sealed(tmp_path, {"a": ["tea"], "b": ["cake"]}))
    asked = training(CONFIG, owner.clients, owner.initial(CONFIG), told=TOLD)
    first = sums(owner.asked(asked, "one"))
    assert "waits" in reason(owner.ask(asked, "two"))
    assert sums(owner.asked(asked, "two")) != first


def test_no_reply_on_the_disk_can_be_read_without_the_vaults_key(tmp_path: Path) -> None:
    owner = Owner(sealed(tmp_path, {"a": ["tea"], "b": ["cake"]}))
    reply = owner.asked(training(CONFIG, owner.clients, owner.initial(CONFIG), told=TOLD))
    plain = recorddict_to_proto(reply.content).SerializeToString()
    kept = (tmp_path / "v.memory.reply").read_bytes()
    assert plain[-64:] not in kept and sums(reply)[-64:] not in kept
    assert (tmp_path / "v.memory").stat().st_mode & 0o077 == 0
    names = [int(c).to_bytes(8, order) for c in owner.clients for order in ("little", "big")]
    assert not any(name in (tmp_path / "v.memory").read_bytes() for name in names)


def test_subsets_attempts_and_further_rounds_give_no_further_copy(tmp_path: Path) -> None:
    owner = Owner(sealed(tmp_path, {"a": ["tea"], "b": ["cake"]}))
    weights = owner.initial(CONFIG)
    assert not owner.asked(training(CONFIG, owner.clients, weights, told=TOLD)).has_error()
    for some in (owner.clients[:1], owner.clients[1:], owner.clients[::-1]):
        assert "could reveal it" in reason(owner.ask(training(CONFIG, some, weights, told=TOLD)))
    copies = 1
    for number in (1, 2, 3):
        for attempt in range(4):
            asked = training(CONFIG, owner.clients, weights, number, attempt, TOLD)
            copies += not owner.ask(asked).has_error() and (number, attempt) != (1, 0)
    assert copies == CONFIG.rounds


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"reproducible": True}, "follow from the run's seed"),
        ({"noise_multiplier": 0.5}, "smallest_noise"),
        ({"mechanism": "gaussian"}, "smallest_noise"),
        ({"clip_norm": 0.02}, "clip norm"),
    ],
)
def test_noise_that_the_server_could_subtract_is_refused(tmp_path: Path, values: dict[str, object], said: str) -> None:
    policy = Policy(min_chunk_clients=1, smallest_noise=1.0, max_runs=9)
    owner = Owner(
        sealed(tmp_path, {"a": ["tea"], "b": ["cake"]}), policy, work=lambda message: pytest.fail("it was handed on")
    )
    assert said in reason(owner.asked(training(changed(CONFIG, **values), owner.clients, told=TOLD)))


def test_what_noise_does_not_cover_does_not_leave(tmp_path: Path) -> None:
    path = sealed(tmp_path, {"a": ["tea", "cake"], "b": ["tea", "cake"]}, holdout=0.5)
    owner = Owner(path, work=lambda message: pytest.fail("it was handed on"))
    assert "does not evaluate" in reason(owner.asked(evaluation(CONFIG, owner.clients)))
    owner = Owner(path, Policy(tells_counts=True), work=lambda message: pytest.fail("it was handed on"))
    assert "tells_counts=false" in reason(owner.asked(training(CONFIG, owner.clients, told=TOLD)))
