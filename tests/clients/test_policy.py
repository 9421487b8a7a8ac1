"""What a node's policy lets through: types of messages, clients, clip norms and vocabularies."""

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, Error, Message, RecordDict

from clients.guard import Guard
from clients.policy import ANSWERED, PLUGINS, REFUSED, Policy
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.messages.discovery import DiscoveryRequest, ExportRequest
from fedlm.messages.evaluation import EvaluateRequest, ScoreRequest
from fedlm.messages.fields import Malformed
from fedlm.messages.training import TrainRequest
from fedlm.messages.vocabulary import VocabularyReply, VocabularyRequest
from fedlm.preparation.vault import prepare
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from server.engines.local import take_identity
from tests.support.owners import contract

pytestmark = pytest.mark.flower
PRIVATE = {
    "mechanism": "local",
    "weighting": "uniform",
    "max_client_tokens": 10**6,
    "clip_norm": 0.01,
    "noise_multiplier": 1.0,
    "sampling_rate": 1.0,
}


def content(kind: str, clients: tuple[int, ...], told: dict[str, float], settings: str) -> RecordDict:
    """Returns the content of a request of a kind; of the nearest kind if there is none."""
    named, arrays = np.array(clients, np.uint64), ArrayRecord()
    requests = [
        TrainRequest(settings, 1, named, arrays, {}, told),
        EvaluateRequest(settings, 1, named, arrays),
        DiscoveryRequest(settings),
        ExportRequest(settings, arrays),
        ScoreRequest(settings, arrays, ["tea"]),
        VocabularyRequest(settings, named, [" cake", "tea"]),
    ]
    by_kind = {r.kind: r for r in requests}
    return by_kind.get(kind, by_kind[kind.partition(".")[0]]).content()


def message(
    kind: str, clients: tuple[int, ...] = (1, 2), told: dict[str, float] | None = None, **settings: Any
) -> Message:
    """Returns a message as the server would send it; `told` is what the mechanism tells its nodes."""
    return raw(kind, RunConfig.checked(settings).to_settings(), clients, told)


def raw(kind: str, settings: str, clients: tuple[int, ...] = (1, 2), told: dict[str, float] | None = None) -> Message:
    """Returns a message whose settings are any text."""
    take_identity()
    return Message(content(kind, clients, told or {}, settings), 2, kind)


def vault_of_two(folder: Path) -> closing[Vault]:
    """Returns the open vault of two clients who write about tea."""
    lines = [{"user": f"u{i}", "text": f"tea cake {n}"} for i in range(2) for n in range(2)]
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    key = KeySource(folder / "v.key")
    prepare(str(folder / "mine.jsonl"), folder / "v", key, RunConfig(scrub="none"), lambda done, total: None)
    return closing(Vault(folder / "v", key))


@pytest.mark.parametrize(
    "kind", ["train.default", "evaluate.default", "query.default", "evaluate.reference", "train.x"]
)
def test_another_name_for_a_message_is_refused_before_any_work(kind: str, tmp_path: Path) -> None:
    guard = Guard(Policy(tells_counts=True), contract(tmp_path), lambda asked: pytest.fail("it was handed on"))
    reply = guard.answer(message(kind))
    assert reply.has_error() and f"does not answer messages of type {kind}, only train, evaluate," in reply.error.reason


@pytest.mark.parametrize("kind", ANSWERED)
def test_what_a_run_sends_is_answered(kind: str) -> None:
    assert Policy().check(message(kind))[1] == RunConfig()


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
        with pytest.raises(ConfigError, match="sets the clip norm 1000"):
            Node(vault).answer(asked)


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
        with pytest.raises(ConfigError, match=r"clip norm of at most 0\.02"):
            policy.check(message("train", told={"clip-norm": told}, **settings))


def test_the_nodes_own_noise_has_the_owners_floor() -> None:
    told, floor = {"clip-norm": 0.01}, PRIVATE["noise_multiplier"]
    Policy(smallest_noise=floor).check(message("train", told=told, **PRIVATE))
    for policy, settings in ((floor * 1.01, PRIVATE), (floor, {**PRIVATE, "mechanism": "gaussian"}), (floor, {})):
        with pytest.raises(ConfigError, match=r"noise the node adds itself, with a noise_multiplier"):
            Policy(smallest_noise=policy).check(message("train", told=told if settings else {}, **settings))


def test_a_small_chunk_is_refused_without_differential_privacy() -> None:
    with pytest.raises(ConfigError, match="at least 3 clients per message"):
        Policy(min_chunk_clients=3).check(message("train"))
    Policy(min_chunk_clients=3).check(message("train", told={"clip-norm": 0.01}, **PRIVATE))


def test_the_old_name_of_a_key_warns_and_works() -> None:
    with pytest.warns(FutureWarning, match="now called min_chunk_clients"):
        assert Policy.checked({"smallest_cohort": 3}).min_chunk_clients == 3


@pytest.mark.parametrize("kind", ["train", "evaluate", "query.vocabulary"])
def test_a_client_named_twice_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="names a client more than once"):
        Policy().check(message(kind, (1, 2, 1)))


@pytest.mark.slow
def test_a_node_counts_a_client_once_however_often_it_is_named(tmp_path: Path) -> None:
    from clients.node import Node

    asked = {"vocabulary": "private(epsilon=1.0, words=4)", "reproducible": True}
    with vault_of_two(tmp_path) as vault:
        one = int(vault.by_pseudonym()["pseudonym"][0])
        # Candidates are public: counts leave, with noise that follows from the seed.
        replies = [Node(vault).answer(message("query.vocabulary", (one,) * n, **asked)) for n in (1, 2000)]
    once, often = (VocabularyReply.read(r).counts for r in replies)
    assert once == often and set(once) == {" cake", "tea"}


@pytest.mark.parametrize("kind", ANSWERED)
def test_a_message_that_is_not_laid_out_as_its_kind_is_refused_with_a_sentence(kind: str, tmp_path: Path) -> None:
    take_identity()
    guard = Guard(Policy(), contract(tmp_path), lambda asked: pytest.fail("it was handed on"))
    empty, whole = Message(RecordDict(), 2, kind), message(kind)
    whole.content["config"]["version"] = 99
    errors = Message(Error(1, "An error for a node."), reply_to=message(kind))
    for broken in (empty, whole, errors):
        reply = guard.answer(broken)
        assert reply.has_error() and reply.error.code == REFUSED
        assert "The message is malformed" in reply.error.reason


def test_a_private_message_without_a_norm_is_refused() -> None:
    with pytest.raises(Malformed, match="clip-norm"):
        Policy().check(message("train", **PRIVATE))


TRAP = """
from pathlib import Path
Path({mark!r}).touch()
from fedlm.algorithms.base import Algorithm
from fedlm.aggregation.open import Open
from fedlm.privacy.mechanisms.none import NoPrivacy

class Rule(Algorithm):
    \"\"\"An algorithm of one's own.\"\"\"

class Sums(Open):
    \"\"\"An aggregation of one's own.\"\"\"

class Quiet(NoPrivacy):
    \"\"\"A mechanism of one's own.\"\"\"
"""


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the file that a module `trap_of_a_server` leaves behind once it is imported."""
    mark = tmp_path / "imported"
    (tmp_path / "trap_of_a_server.py").write_text(TRAP.format(mark=str(mark)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "trap_of_a_server", raising=False)
    return mark


def settings_with(**values: object) -> str:
    """Returns a configuration as a server sends it that loads nothing to say whether it is valid."""
    return json.dumps({**json.loads(RunConfig().to_settings()), **values})


OWN = {"algorithm": "Rule", "aggregation": "Sums", "mechanism": "Quiet", "model": "build"}


@pytest.mark.parametrize("kind", ANSWERED)
@pytest.mark.parametrize("key", PLUGINS)
@pytest.mark.parametrize("form", ["{}", "{}(rate=1.0)", "  {} ( )", "{}(x=", "\n{}\n(rate='a:b')"])
def test_code_that_the_owner_has_not_allowed_is_refused_before_it_is_imported(
    kind: str, key: str, form: str, trap: Path, tmp_path: Path
) -> None:
    named = f"trap_of_a_server:{OWN[key]}"
    guard = Guard(Policy(plugins=("other:Thing",)), contract(tmp_path), lambda asked: pytest.fail("it was handed on"))
    for name in (named, named.replace(":", " :"), named.replace(":", ": ")):
        reply = guard.answer(raw(kind, settings_with(**{key: form.format(name)})))
        assert reply.has_error() and reply.error.code == REFUSED
        assert "policy does not allow the plug-in trap_of_a_server" in reply.error.reason
    assert "trap_of_a_server" not in sys.modules and not trap.exists()


@pytest.mark.parametrize("key", PLUGINS)
@pytest.mark.parametrize("name", ["os:system", "os:system('ls')", "os.path:join", "builtins:eval", ":x", "a:b:c", "x:"])
def test_any_name_with_a_colon_has_to_be_allowed(key: str, name: str) -> None:
    with pytest.raises(ConfigError, match=r"policy does not allow the plug-in .*\(plugins\)"):
        Policy().check(raw("train", settings_with(**{key: name})))


def test_the_name_of_one_plug_in_allows_no_other() -> None:
    for allowed in ("trap_of_a_server", "trap_of_a_server:", "trap_of_a_server:Ru", "trap_of_a_server:Rule(rate=1)"):
        with pytest.raises(ConfigError, match="does not allow the plug-in trap_of_a_server:Rule"):
            Policy(plugins=(allowed,)).check(raw("query", settings_with(algorithm="trap_of_a_server:Rule")))


@pytest.mark.parametrize("key", ["algorithm", "aggregation", "mechanism"])
def test_code_that_the_owner_allows_is_used(key: str, trap: Path) -> None:
    name = f"trap_of_a_server:{OWN[key]}"
    Policy(plugins=(name,)).check(raw("query", settings_with(**{key: name})))
    assert trap.exists()


@pytest.mark.parametrize("key", PLUGINS)
def test_what_is_allowed_but_is_no_plug_in_is_refused_with_a_sentence(key: str, trap: Path) -> None:
    for name in ("os:system", "trap_of_a_server:Nothing", "no_such_module:Rule", "trap_of_a_server:Path"):
        with pytest.raises(ConfigError, match=name.partition(":")[0]):
            Policy(plugins=(name,)).check(raw("query", settings_with(**{key: name})))


@pytest.mark.parametrize(
    "settings",
    ["", "{", "nonsense", "[]", "null", "5", '"text"', "[" * 200_000, '{"seed": ' + "9" * 5000 + "}", "\0", "{'a': 1}"],
)
@pytest.mark.parametrize("kind", ANSWERED)
def test_settings_that_are_no_json_of_a_configuration_are_malformed(kind: str, settings: str, tmp_path: Path) -> None:
    guard = Guard(Policy(), contract(tmp_path), lambda asked: pytest.fail("it was handed on"))
    reply = guard.answer(raw(kind, settings))
    assert reply.has_error() and reply.error.code == REFUSED
    assert reply.error.reason == ("The message is malformed: the field 'settings' is not a configuration as JSON.")


@pytest.mark.parametrize(
    "values",
    [
        {"unknown": 1},
        {"model": 5},
        {"model": None},
        {"model": ["lstm"]},
        {"algorithm": {"fedavg": 1}},
        {"mechanism": "("},
        {"aggregation": ""},
        {"model": "-" * 100_000 + "1"},
        {"algorithm": "fedprox(mu=" + "-" * 5000 + "1)"},
        {"mechanism": "a" + ".b" * 100_000},
        {"model": "\ud800"},
        {"rounds": float("nan")},
        {"clip_norm": float("inf")},
        {"algorithm": "no.such.Rule"},
        {"seed": -1},
    ],
    ids=lambda values: f"{next(iter(values))}={str(next(iter(values.values())))[:20]!r}",
)
def test_settings_that_are_no_valid_configuration_are_refused_with_a_sentence(
    values: dict[str, object], tmp_path: Path
) -> None:
    guard = Guard(Policy(), contract(tmp_path), lambda asked: pytest.fail("it was handed on"))
    reply = guard.answer(raw("train", settings_with(**values)))
    assert reply.has_error() and reply.error.code == REFUSED and reply.error.reason
