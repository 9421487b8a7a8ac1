"""What a node's policy lets through: types of messages, clients, clip norms and vocabularies."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message

from clients.guard import Guard
from clients.policy import ANSWERED, Policy
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.messages import wire
from fedlm.preparation.vault import prepare
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.engines.local import take_identity

pytestmark = pytest.mark.flower
PRIVATE = {
    "mechanism": "local",
    "weighting": "uniform",
    "clip_norm": 0.01,
    "noise_multiplier": 1.0,
    "sampling_rate": 1.0,
}


def message(
    kind: str, clients: tuple[int, ...] = (1, 2), told: dict[str, Any] | None = None, **settings: Any
) -> Message:
    """Returns a message as the server would send it; `told` is what a round adds to its configuration."""
    take_identity()
    config = RunConfig.checked(settings).to_settings()
    record = ConfigRecord(told or {})
    return Message(wire.request(None, np.array(clients, np.uint64), config, 1, 4, record), 2, kind)


def vault_of_two(folder: Path) -> closing[Vault]:
    """Returns the open vault of two clients who write about tea."""
    lines = [{"user": f"u{i}", "text": f"tea cake {n}"} for i in range(2) for n in range(2)]
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    key = KeySource(folder / "v.key")
    prepare(str(folder / "mine.jsonl"), folder / "v", key, RunConfig(scrub="none"), lambda done, total: None)
    return closing(Vault(folder / "v", key))


@pytest.mark.parametrize("kind", ["train.default", "evaluate.default", "query.default", "evaluate.alone", "train.x"])
def test_another_name_for_a_message_is_refused_before_any_work(kind: str) -> None:
    guard = Guard(Policy(tells_counts=True), lambda asked: pytest.fail("it was handed on"))
    reply = guard.answer(message(kind))
    assert reply.has_error() and f"no message of type {kind}, only train, evaluate," in reply.error.reason


@pytest.mark.parametrize("kind", ANSWERED)
def test_what_a_run_sends_is_answered(kind: str) -> None:
    Policy().check(message(kind))


@pytest.mark.parametrize("mechanism", ["local", "gaussian"])
def test_a_message_clips_to_the_norm_of_its_run(mechanism: str) -> None:
    settings = {**PRIVATE, "mechanism": mechanism}
    Policy().check(message("train", told={"clip-norm": 0.01}, **settings))
    for told in (1000.0, 0.02, float("nan")):
        with pytest.raises(ConfigError, match=r"the run's clip_norm is 0\.01"):
            Policy().check(message("train", told={"clip-norm": told}, **settings))
    Policy().check(message("train", told={"clip-norm": 0.02}, **{**settings, "mechanism": "adaptive"}))


@pytest.mark.slow
def test_a_node_refuses_another_norm_by_itself(tmp_path: Path) -> None:
    from clients.node import Node

    with vault_of_two(tmp_path) as vault:
        one = int(vault.by_pseudonym()["pseudonym"][0])
        asked = message("train", (one,), {"clip-norm": 1000.0}, model="lstm(units=4, layers=1)", **PRIVATE)
        asked.content["arrays"] = wire.weights_record(())
        with pytest.raises(ConfigError, match="asks for clipping to 1000"):
            Node(vault).train(asked)


@pytest.mark.parametrize("policy", [Policy(clipping_required=True), Policy(largest_norm=1.0)])
def test_clipping_can_be_required(policy: Policy) -> None:
    policy.check(message("train", told={"clip-norm": 0.01}, **PRIVATE))
    with pytest.raises(ConfigError, match="set mechanism and clip_norm"):
        policy.check(message("train"))
    policy.check(message("evaluate"))


def test_the_norm_has_the_owners_bound_whoever_moves_it() -> None:
    policy, settings = Policy(largest_norm=0.02), {**PRIVATE, "mechanism": "adaptive"}
    policy.check(message("train", told={"clip-norm": 0.02}, **settings))
    for told in (0.03, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match=r"clipping to 0\.02 at most"):
            policy.check(message("train", told={"clip-norm": told}, **settings))


def test_the_nodes_own_noise_has_the_owners_floor() -> None:
    told, floor = {"clip-norm": 0.01}, PRIVATE["noise_multiplier"]
    Policy(smallest_noise=floor).check(message("train", told=told, **PRIVATE))
    for policy, settings in ((floor * 1.01, PRIVATE), (floor, {**PRIVATE, "mechanism": "gaussian"}), (floor, {})):
        with pytest.raises(ConfigError, match=r"mechanism=local with a noise_multiplier"):
            Policy(smallest_noise=policy).check(message("train", told=told if settings else {}, **settings))


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_a_small_cohort_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="at least 3 different clients"):
        Policy(smallest_cohort=3).check(message(kind))


@pytest.mark.parametrize("kind", ["train", "evaluate", "query", "query.vocabulary"])
def test_a_client_named_twice_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="names a client more than once"):
        Policy().check(message(kind, (1, 2, 1)))


@pytest.mark.slow
def test_a_node_counts_a_client_once_however_often_it_is_named(tmp_path: Path) -> None:
    from clients.node import Node

    asked = {"vocabulary": "private(epsilon=1.0, words=4)", "reproducible": True}
    with vault_of_two(tmp_path) as vault:
        one = int(vault.by_pseudonym()["pseudonym"][0])
        told = {"candidates": [" cake", "tea"]}  # public: counts leave, with noise that follows from the seed
        replies = [Node(vault).vocabulary(message("query.vocabulary", (one,) * n, told, **asked)) for n in (1, 2000)]
    once, often = (r.config_records["config"]["counts"] for r in replies)
    assert once == often
