"""A vocabulary learned from private text: through whole runs, into the ledger, and against an owner's limit."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message

from clients.contract.budget import VocabularyBudget
from clients.guard import Guard
from clients.policy import Policy
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.messages.delivery import Delivery
from fedlm.messages.vocabulary import VocabularyReply, VocabularyRequest
from server.engines.local import take_identity
from tests.support.owners import contract
from tests.support.running import fedlm

SMALL = ["scrub=none", "rounds=1", "cohort_size=8", "model=lstm(units=4, layers=1)", "seq_len=10", "workers=1"]
NOISED = [
    "mechanism=gaussian",
    "weighting=uniform",
    "max_client_tokens=1000000",
    "clip_norm=0.5",
    "noise_multiplier=2.0",
    "sampling_rate=0.1",
]
ASKED = ["vocabulary=private(size=100, epsilon=6.0, words=4, delta=1e-6)"]


def sets(*settings: str) -> list[str]:
    return [w for s in settings for w in ("--set", s)]


def question(settings: str) -> Message:
    """Returns a message that asks for the words of one client."""
    request = VocabularyRequest(settings, np.zeros(1, np.uint64))
    asked = Message(request.content(), 2, request.kind)
    Delivery("1", "chunk").stamp(asked.content)
    return asked


@pytest.mark.slow
@pytest.mark.flower
def test_a_run_learns_its_words_pays_for_them_and_shows_both(tmp_path: Path) -> None:
    lines = [{"user": f"u{i}", "text": f"tea and tea and cake zq{i}", "n": str(n)} for i in range(80) for n in range(2)]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = fedlm("simulate", "mine.jsonl", *sets(*SMALL, *NOISED, *ASKED), "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    vocabulary = json.loads((run / "vocabulary.json").read_text())
    assert {" tea", " and"} <= set(vocabulary["symbols"]) and not any("zq" in s for s in vocabulary["symbols"])
    ledger = json.loads((run / "ledger.json").read_text())
    words, training = ledger["releases"]
    assert (words["mechanism"], words["round"], training["round"]) == ("vocabulary", 0, 1)
    threshold = vocabulary["privacy"]["threshold"]
    assert words["threshold"] == threshold and words["delta"] == vocabulary["privacy"]["delta_words"] > 0
    assert f"threshold {threshold}" in ledger["statement"] and 0 < ledger["epsilon"] < math.inf
    report = (run / "report.html").read_text()
    assert f"threshold {threshold}" in report and "(6, 1e-06)-differential privacy" in report
    again = fedlm(
        "simulate",
        "run/vault.db",
        *sets(*SMALL, *NOISED, "vocabulary=words(file='run/vocabulary.json')"),
        "--out",
        "two",
        cwd=tmp_path,
    )
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "two" / "ledger.json").read_text())["releases"][0] == words
    few = fedlm("simulate", "run/vault.db", *sets(*SMALL, ASKED[0].replace("6.0", "0.1")), "--out", "few", cwd=tmp_path)
    assert (
        few.returncode == 4 and "No word was used by enough clients" in few.stderr and not (tmp_path / "few").exists()
    )


def test_a_budget_is_spent_once_and_outlives_the_process(tmp_path: Path) -> None:
    VocabularyBudget(tmp_path / "v.spent", 3.0, 1e-5).spend(2.0, 1e-6)
    with pytest.raises(ConfigError, match="2 is spent, and this one would cost 2"):
        VocabularyBudget(tmp_path / "v.spent", 3.0, 1e-5).spend(2.0, 1e-6)
    VocabularyBudget(tmp_path / "v.spent", 3.0, 1e-5).spend(1.0, 1e-6)
    with pytest.raises(ConfigError, match="limits the epsilon"):
        VocabularyBudget(tmp_path / "none.spent", 0.0, 1e-5).spend(0.1, 1e-6)


def test_deltas_add_up_to_their_own_limit(tmp_path: Path) -> None:
    for _ in range(10):
        VocabularyBudget(tmp_path / "v.spent", 3.0, 1e-5).spend(0.3, 1e-6)  # both sums just reach their limits
    with pytest.raises(ConfigError, match=r"delta of all vocabularies to 1e-05 \(vocabulary_delta\); 1e-05 is spent"):
        VocabularyBudget(tmp_path / "v.spent", 9.0, 1e-5).spend(0.3, 1e-6)
    assert json.loads((tmp_path / "v.spent").read_text()) == pytest.approx({"epsilon": 3.0, "delta": 1e-5})


def test_a_file_of_before_deltas_were_counted_is_read(tmp_path: Path) -> None:
    (tmp_path / "v.spent").write_text('{"epsilon": 2.5}')
    with pytest.raises(ConfigError, match=r"2\.5 is spent, and this one"):
        VocabularyBudget(tmp_path / "v.spent", 3.0, 1e-5).spend(1.0, 1e-6)
    VocabularyBudget(tmp_path / "v.spent", 3.0, 1e-5).spend(0.5, 1e-5)


@pytest.mark.flower
def test_a_node_gives_no_words_unless_its_owner_allows_it(tmp_path: Path) -> None:
    take_identity()
    seen: list[Message] = []

    def ask(limit: float, **more: object) -> Message:
        settings = RunConfig.checked({"vocabulary": ASKED[0].partition("=")[2], **more}).to_settings()
        message = question(settings)
        Delivery("another" if more else "1", "chunk").stamp(message.content)

        def work(asked: Message) -> Message:
            seen.append(asked)
            return Message(VocabularyReply({}).content(), reply_to=asked)

        return Guard(Policy(), contract(tmp_path), work, VocabularyBudget(tmp_path / "v.spent", limit, 1e-5)).answer(
            message
        )

    assert ask(0.0).has_error() and ask(5.9).has_error() and not seen
    refused = ask(100.0, reproducible=True)
    assert refused.has_error() and "noise from a seed" in refused.error.reason
    assert not ask(6.0).has_error() and len(seen) == 1
    assert not ask(6.0).has_error() and len(seen) == 1  # the same request: its kept reply, at no further cost


@pytest.mark.flower
def test_a_large_delta_is_refused_at_the_default_policy(tmp_path: Path) -> None:
    take_identity()
    settings = RunConfig.checked({"vocabulary": "private(epsilon=0.001, delta=0.9999, words=1)"}).to_settings()
    message = question(settings)
    policy = Policy(vocabulary_epsilon=8.0)
    budget = VocabularyBudget(tmp_path / "v.spent", policy.vocabulary_epsilon, policy.vocabulary_delta)
    reply = Guard(policy, contract(tmp_path), lambda asked: pytest.fail("it was handed on"), budget).answer(message)
    assert reply.has_error() and "this one would cost 0.9999" in reply.error.reason
    assert not (tmp_path / "v.spent").exists()


@pytest.mark.flower
def test_a_question_sent_again_gets_the_kept_reply_and_costs_nothing(tmp_path: Path) -> None:
    take_identity()
    settings, answered = RunConfig.checked({"vocabulary": "private(epsilon=2.0)"}).to_settings(), list[str]()

    def work(asked: Message) -> Message:
        delivery = Delivery.of(asked.content)
        assert delivery is not None
        answered.append(delivery.chunk)
        return Message(VocabularyReply({" tea": 2}).content(), reply_to=asked)

    guard = Guard(Policy(), contract(tmp_path), work, VocabularyBudget(tmp_path / "v.spent", 3.0, 1e-5))

    def ask(chunk: str, attempt: int) -> Message:
        asked = question(settings)
        Delivery("1", chunk, attempt).stamp(asked.content)
        return guard.answer(asked)

    replies = [ask(chunk, n) for n, chunk in enumerate(("a", "a", "a", "b"), 1)]
    assert not any(reply.has_error() for reply in replies)
    assert [Delivery("1", "a").is_echoed(reply.content) for reply in replies] == [True, True, True, False]
    assert all(VocabularyReply.read(reply.content).counts == {" tea": 2} for reply in replies)
    assert answered == ["a"] and json.loads((tmp_path / "v.spent").read_text())["epsilon"] == 2.0
