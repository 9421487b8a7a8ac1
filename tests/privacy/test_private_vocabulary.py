"""A vocabulary learned from private text: through whole runs, into the ledger, and against an owner's limit."""

import json
import math
from pathlib import Path

import pytest
from flwr.app import Message

from clients.guard import Allowance, Guard
from clients.policy import Policy
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.messages import wire
from server.engines.local import take_identity
from server.run.vocabulary import QUESTION
from tests.support.running import fedlm

SMALL = ["scrub=none", "rounds=1", "cohort_size=8", "model=lstm(units=4, layers=1)", "seq_len=10", "workers=1"]
NOISED = ["mechanism=gaussian", "weighting=uniform", "clip_norm=0.5", "noise_multiplier=2.0", "sampling_rate=0.1"]
ASKED = ["vocabulary=private(size=100, epsilon=6.0, words=4, delta=1e-6)"]


def sets(*settings: str) -> list[str]:
    return [w for s in settings for w in ("--set", s)]


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


def test_an_allowance_is_spent_once_and_outlives_the_process(tmp_path: Path) -> None:
    Allowance(tmp_path / "v.spent", 3.0, 1e-5).spend(2.0, 1e-6)
    with pytest.raises(ConfigError, match="of which 2 is spent; this one asks for 2"):
        Allowance(tmp_path / "v.spent", 3.0, 1e-5).spend(2.0, 1e-6)
    Allowance(tmp_path / "v.spent", 3.0, 1e-5).spend(1.0, 1e-6)
    with pytest.raises(ConfigError, match="in all"):
        Allowance(tmp_path / "none.spent", 0.0, 1e-5).spend(0.1, 1e-6)


def test_deltas_add_up_to_their_own_limit(tmp_path: Path) -> None:
    for _ in range(10):
        Allowance(tmp_path / "v.spent", 3.0, 1e-5).spend(0.3, 1e-6)  # both sums just reach their limits
    with pytest.raises(ConfigError, match=r"delta 1e-05 in all \(vocabulary_delta\), of which 1e-05 is spent"):
        Allowance(tmp_path / "v.spent", 9.0, 1e-5).spend(0.3, 1e-6)
    assert json.loads((tmp_path / "v.spent").read_text()) == pytest.approx({"epsilon": 3.0, "delta": 1e-5})


def test_a_file_of_before_deltas_were_counted_is_read(tmp_path: Path) -> None:
    (tmp_path / "v.spent").write_text('{"epsilon": 2.5}')
    with pytest.raises(ConfigError, match=r"of which 2.5 is spent"):
        Allowance(tmp_path / "v.spent", 3.0, 1e-5).spend(1.0, 1e-6)
    Allowance(tmp_path / "v.spent", 3.0, 1e-5).spend(0.5, 1e-5)


@pytest.mark.flower
def test_a_node_gives_no_words_unless_its_owner_allows_it(tmp_path: Path) -> None:
    take_identity()
    seen: list[Message] = []

    def ask(limit: float, **more: object) -> Message:
        settings = RunConfig.checked({"vocabulary": ASKED[0].partition("=")[2], **more}).to_settings()
        content = wire.request(None, wire.bytes_pseudonyms(bytes(8)), settings, 1, 0)
        message = Message(content, 2, QUESTION)

        def work(asked: Message) -> Message:
            seen.append(asked)
            return Message(content, reply_to=asked)

        return Guard(Policy(), work, Allowance(tmp_path / "v.spent", limit, 1e-5)).answer(message)

    assert ask(0.0).has_error() and ask(5.9).has_error() and not seen
    refused = ask(100.0, reproducible=True)
    assert refused.has_error() and "noise from a seed" in refused.error.reason
    assert not ask(6.0).has_error() and ask(6.0).has_error() and len(seen) == 1


@pytest.mark.flower
def test_a_large_delta_is_refused_at_the_default_policy(tmp_path: Path) -> None:
    take_identity()
    settings = RunConfig.checked({"vocabulary": "private(epsilon=0.001, delta=0.9999, words=1)"}).to_settings()
    message = Message(wire.request(None, wire.bytes_pseudonyms(bytes(8)), settings, 1, 0), 2, QUESTION)
    policy = Policy(vocabulary_epsilon=8.0)
    allowance = Allowance(tmp_path / "v.spent", policy.vocabulary_epsilon, policy.vocabulary_delta)
    reply = Guard(policy, lambda asked: pytest.fail("it was handed on"), allowance).answer(message)
    assert reply.has_error() and "this one asks for 0.9999" in reply.error.reason
    assert not (tmp_path / "v.spent").exists()


@pytest.mark.flower
def test_a_question_sent_again_gets_the_kept_reply_and_costs_nothing(tmp_path: Path) -> None:
    take_identity()
    settings, answered = RunConfig.checked({"vocabulary": "private(epsilon=2.0)"}).to_settings(), list[str]()

    def work(asked: Message) -> Message:
        answered.append(str(asked.content.config_records["config"]["chunk"]))
        return Message(wire.request(None, wire.bytes_pseudonyms(b""), settings, 1, 0), reply_to=asked)

    guard = Guard(Policy(), work, Allowance(tmp_path / "v.spent", 3.0, 1e-5))

    def ask(chunk: str) -> Message:
        content = wire.request(None, wire.bytes_pseudonyms(bytes(8)), settings, 1, 0)
        content.config_records["config"].update({"run": "1", "chunk": chunk})
        return guard.answer(Message(content, 2, QUESTION))

    assert [ask(chunk).has_error() for chunk in ("a", "a", "a", "b")] == [False, False, False, True]
    assert answered == ["a"] and json.loads((tmp_path / "v.spent").read_text())["epsilon"] == 2.0
