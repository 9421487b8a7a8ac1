"""A coordinator that changes what its run asks for, after the owner has accepted the run or before."""

import json
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message, MetricRecord, RecordDict

from clients.contract.manifest import SERVER_ONLY, Manifest
from clients.policy import ANSWERED, Policy
from fedlm.config import RunConfig
from fedlm.errors import ConfigError, DataError
from fedlm.text.learned import learn
from tests.support.owners import RUN, Owner, changed, reason, sealed, training

pytestmark = pytest.mark.flower
CONFIG = RunConfig(rounds=3, model="lstm(units=4, layers=1)")
OTHER: dict[str, Any] = {
    "model": "lstm(units=5, layers=1)",
    "vocabulary": "bytes",
    "client_optimizer": "sgd(learning_rate=0.5)",
    "client_schedule": "step",
    "strategy": "FedAdam",
    "weighting": "uniform",
    "algorithm": "fedprox",
    "aggregation": "per_client",
    "drift": True,
    "client_holdout": 0.3,
    "delta": 1e-6,
    "reproducible": True,
}
PRIVATE = {
    "mechanism": "gaussian",
    "weighting": "uniform",
    "clip_norm": 0.01,
    "sampling_rate": 1.0,
    "max_client_tokens": 8000,
}
READ_BY_NODES = [key for key in RunConfig.model_fields if key not in (*SERVER_ONLY, "vocabulary_text")]


def other(key: str) -> dict[str, Any]:
    """Returns values of which a key has another one than the default."""
    if key in OTHER:
        return {key: OTHER[key]}
    default = RunConfig.model_fields[key].default
    if key in ("mechanism", "clip_norm", "sampling_rate", "max_client_tokens"):
        return PRIVATE
    if key in ("noise_multiplier", "epsilon_budget", "noise_cohort_size", "population_weight"):
        return {**PRIVATE, key: 50}
    return {key: default + (1 if type(default) is int else 0.1)}


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    def work(message: Message) -> Message:
        return Message(RecordDict({"metrics": MetricRecord({"clients": 9})}), reply_to=message)

    return Owner(sealed(tmp_path, {"a": ["tea"], "b": ["cake"]}), work=work)


@pytest.mark.parametrize("key", READ_BY_NODES)
def test_every_key_that_a_node_reads_is_in_the_manifest(key: str) -> None:
    try:
        asked = changed(RunConfig(), **other(key))
    except ConfigError as error:  # a key that needs others, such as max_client_tokens under a mechanism
        pytest.fail(f"{key} has no other value here: {error}")
    assert Manifest.of("r", asked).sha256 != Manifest.of("r", RunConfig()).sha256


@pytest.mark.parametrize("key", SERVER_ONLY)
def test_what_only_the_server_reads_is_not(key: str) -> None:
    values = {"server_schedule": "step", "scrub": "none", "partition": "iid(clients=2)", "pseudonym_key": "random"}
    asked = changed(RunConfig(), **({key: values[key]} if key in values else other(key)))
    assert Manifest.of("r", asked).sha256 == Manifest.of("r", RunConfig()).sha256


def test_a_manifest_is_the_same_after_it_was_written_and_read() -> None:
    manifest = Manifest.of("r", changed(CONFIG, client_optimizer="adam"), server_sha256="s", bundle_sha256="b")
    assert Manifest.read(manifest.canonical()) == manifest
    for text in ("", "{}", "[]", "5", '{"run": 1}', json.dumps({**json.loads(manifest.canonical()), "more": 1})):
        with pytest.raises(ConfigError):
            Manifest.read(text)


@pytest.mark.parametrize("kind", ANSWERED)
def test_nothing_is_answered_before_the_owner_has_accepted(owner: Owner, kind: str) -> None:
    from tests.clients.test_policy import message

    assert "waits for this node's owner" in reason(owner.ask(message(kind, tuple(map(int, owner.clients)))))


def test_an_acceptance_covers_one_run_and_can_be_withdrawn(owner: Owner) -> None:
    assert not owner.asked(training(CONFIG, owner.clients)).has_error()
    for values in ({"rounds": 4}, {"client_optimizer": "sgd(momentum=2.0)"}, {"seed": 1}, {"batch_size": 1}):
        assert "waits" in reason(owner.ask(training(changed(CONFIG, **values), owner.clients)))
    assert "waits" in reason(owner.ask(training(CONFIG, owner.clients, number=2), run="another"))
    for policy in (owner.policy, Policy(min_chunk_clients=1, max_runs=100)):
        for manifest in owner.approvals.all():
            owner.approvals.refuse(manifest)
        owner.policy = policy
        owner.start()
        assert "has refused the run" in reason(owner.ask(training(CONFIG, owner.clients, number=2)))
    owner.approvals.accept(Manifest.of(RUN, CONFIG, server_sha256="server", bundle_sha256="bundle"))
    assert not owner.ask(training(CONFIG, owner.clients, number=2)).has_error()


@pytest.mark.parametrize("content", [b"", b"no", b"\xff\xfe", b"owner of another", b"refused"])
def test_a_damaged_decision_accepts_nothing(owner: Owner, content: bytes) -> None:
    assert not owner.asked(training(CONFIG, owner.clients)).has_error()
    for file in (owner.path.parent / "runs").glob("*.accepted"):
        file.write_bytes(content)
    assert reason(owner.ask(training(CONFIG, owner.clients, number=2)))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"run": "x"}'])
def test_a_damaged_manifest_is_named(owner: Owner, content: bytes) -> None:
    owner.ask(training(CONFIG, owner.clients))
    (file,) = (owner.path.parent / "runs").glob("*.json")
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"\.json is damaged: remove it"):
        list(owner.approvals.all())


def test_the_review_marks_a_learned_vocabulary_and_local_noise() -> None:
    learned = changed(CONFIG, vocabulary="words(file='v.json')", vocabulary_text=learn(["tea and cake"], "words", 60))
    manifest = Manifest.of("r", learned)
    assert manifest.vocabulary_sha256 and "vocabulary_text" not in manifest.canonical()
    (said,) = Policy().questions(manifest.config, manifest.vocabulary_sha256)
    assert manifest.vocabulary_sha256 in said
    assert (
        Policy(vocabularies=(manifest.vocabulary_sha256,)).questions(manifest.config, manifest.vocabulary_sha256) == []
    )
    weak = changed(CONFIG, **{**PRIVATE, "mechanism": "local", "noise_multiplier": 1e-6, "clip_norm": 1000.0})
    assert any("1e-06 times the clip norm 1000" in q for q in Policy().questions(weak))


def test_a_coordinator_writes_no_control_characters_to_the_owners_terminal() -> None:
    from fedlm.cli.deploy.review import _printable

    assert _printable("vocabulary = words(file='a\x1b[8m\n')") == "vocabulary = words(file='a\\x1b[8m\\n')"
    assert _printable("seed = 5, ü, 日") == "seed = 5, ü, 日"


def test_a_policy_joins_so_many_runs_of_the_usual_kind_and_asks_about_the_rest(owner: Owner) -> None:
    owner.policy = Policy(min_chunk_clients=1, max_runs=2)
    owner.start()
    unusual = [{"client_optimizer": "sgd(momentum=1.5)"}, {"batch_size": 1}, {"model": "lstm(units=4097)"}]
    unusual += [{"client_optimizer": "sgd(learning_rate=0.0)"}, {"client_schedule": "exponential(factor=30)"}]
    unusual += [{"client_optimizer": "sgd(learning_rate=100.0)"}, PRIVATE]
    for values in unusual:
        assert "waits" in reason(
            owner.ask(training(changed(CONFIG, **values), owner.clients, told={"clip-norm": 0.01}))
        )
    joined = [not owner.ask(training(CONFIG, owner.clients), f"run {i}").has_error() for i in range(4)]
    assert joined == [True, True, False, False]
    for manifest in list(owner.approvals.all()):
        if owner.approvals.accepted_by(manifest.sha256):
            owner.approvals.refuse(manifest)
    assert "waits" in reason(owner.ask(training(CONFIG, owner.clients), "after a refusal"))  # both runs were used


def test_a_coordinator_that_invents_runs_fills_no_disk(owner: Owner) -> None:
    said = [reason(owner.ask(training(CONFIG, owner.clients), f"run {i}")) for i in range(40)]
    assert sum("waits for this node's owner:" in s for s in said) == 20 and "review them" in said[-1]
    assert len(list((owner.path.parent / "runs").iterdir())) == 20
