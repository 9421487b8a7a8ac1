"""Scrubbing: profiles, resolving, placeholders, surrogates, scores."""

import json
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlm.data.synthetic import synthetic_messages
from fedlm.errors import ConfigError, CorpusError
from fedlm.scrub import engine
from fedlm.scrub.engine import Finding, ScrubbedText, Scrubber, resolve
from fedlm.scrub.files import score_file, scrub_file
from fedlm.scrub.kinds import Kind
from fedlm.scrub.names.windows import SEGMENT_CHARACTERS, segments
from fedlm.scrub.processes import Processes
from fedlm.scrub.profile import parse_profile
from fedlm.scrub.score import Score
from fedlm.scrub.surrogates import Surrogates
from fedlm.system.threads import in_order

CASES = [
    ("AGE", "she is 37 years old", "37"),
    ("AGE", "37 years later", None),
    ("TITLE", "ask Dr. Brown", "Dr."),
    ("TITLE", "the drive was long", None),
    ("DATE_TIME", "due on 12 March 2020, please", "12 March 2020"),
    ("DATE_TIME", "in March we march", None),
    ("EMAIL_ADDRESS", "write to jane dot doe at mail dot com now", "jane dot doe at mail dot com"),
    ("EMAIL_ADDRESS", "mail a.b@example.org", "a.b@example.org"),
    ("EMAIL_ADDRESS", "meet me at the com port", None),
    ("USERNAME", "hey @jane_doe!", "@jane_doe"),
    ("USERNAME", "a @ b", None),
    ("SECRET", "password: hunter22x", "hunter22x"),
    ("SECRET", "the password is long", None),
    ("US_SSN", "my ssn is 123-45-6789", "123-45-6789"),
    ("US_SSN", "order 000-45-6789", None),
    ("COORDINATES", "at 52.5200, 13.4050 sharp", "52.5200, 13.4050"),
    ("COORDINATES", "grew by 5.2, 3.4 percent", None),
    ("IBAN_CODE", "to gb82 west 1234 5698 7654 32", "gb82 west 1234 5698 7654 32"),
    ("IBAN_CODE", "to gb82 west 1234 5698 7654 33", None),
    ("CREDIT_CARD", "card 4111 1111 1111 1111", "4111 1111 1111 1111"),
    ("IP_ADDRESS", "ping 10.1.2.3 first", "10.1.2.3"),
    ("PHONE_NUMBER", "call +44 151 234 5678", "+44 151 234 5678"),
    ("PHONE_NUMBER", "it cost 1,234,567 pounds", None),
    ("STREET_ADDRESS", "at 12 Mill Lane today", "12 Mill Lane"),
    ("STREET_ADDRESS", "12 people walk", None),
    ("ZIP_CODE", "Leeds LS1 4AB", "LS1 4AB"),
    ("ZIP_CODE", "in 90210 cases", None),
    ("ORGANIZATION", "from Miller & Sons Ltd", "Miller & Sons Ltd"),
    ("ORGANIZATION", "a limited offer", None),
    ("LOCATION", "made in Germany", "Germany"),
    ("LOCATION", "made of wood", None),
    ("NRP", "a French citizen", "French"),
    ("NRP", "to polish shoes", None),
    ("NRP", "a french citizen", "french"),
    ("URL", "see https://example.org/a?b=1.", "https://example.org/a?b=1"),
    ("URL", "good night.The train left", None),
    ("PERSON", "Hello Jane Doe,\nthe rest", "Jane Doe"),
    ("PERSON", "Hello all,\nthe rest", None),
]


@pytest.fixture(scope="module")
def patterns() -> Scrubber:
    return Scrubber("patterns")


@pytest.mark.parametrize(("label", "text", "found"), CASES)
def test_hits_and_near_misses(patterns: Scrubber, label: str, text: str, found: str | None) -> None:
    spans = [text[f.start : f.end] for f in patterns.find(text) if f.label == label]
    assert spans == ([found] if found else [])


def test_no_planted_structured_value_survives(patterns: Scrubber) -> None:
    for planted in synthetic_messages(clients=12, messages=15, mail=0.5, seed=3):
        text = planted.document.text
        scrubbed = patterns.scrub(text).text
        for start, end, kind in planted.spans:
            if kind in ("EMAIL", "IBAN", "CARD", "IP_ADDRESS"):
                assert text[start:end] not in scrubbed, kind


def test_scrubbing_again_finds_no_structured_value(patterns: Scrubber) -> None:
    """Other kinds may be found anew: what a placeholder leaves beside itself can look like the start of something else."""
    for planted in synthetic_messages(clients=4, messages=10, mail=0.5, seed=4):
        once = patterns.scrub(planted.document.text).text
        shown = "".join(" x " if "\ue000" <= c <= "\uf8ff" else c for c in once)
        assert not {f.label for f in patterns.find(shown)} & {"EMAIL_ADDRESS", "IBAN_CODE", "CREDIT_CARD", "IP_ADDRESS"}


def test_a_placeholder_cannot_be_forged(patterns: Scrubber) -> None:
    assert patterns.scrub(f"a{Kind.PERSON.placeholder}b").text == "ab"
    with pytest.raises(TypeError):
        ScrubbedText("raw", object())


spans = st.tuples(st.integers(0, 30), st.integers(1, 9), st.sampled_from(list(Kind)), st.sampled_from([0.4, 0.5, 1.0]))


@given(st.lists(spans, max_size=12))
def test_resolved_findings_do_not_overlap_and_the_best_stays(raw: list[tuple[int, int, Kind, float]]) -> None:
    findings = [Finding(a, a + n, kind, score) for a, n, kind, score in raw]
    kept = resolve(findings)
    assert all(a.end <= b.start for a, b in pairwise(kept))
    assert all(any(k.start < f.end and f.start < k.end and k.score >= f.score for k in kept) for f in findings)


def test_what_an_overlap_leaves_of_a_finding_stays_found() -> None:
    text = "22 November 2001 Mill Lane, 7"
    findings = [Finding(0, 16, Kind.DATE, 0.8), Finding(12, 26, Kind.ADDRESS, 0.9), Finding(17, 29, Kind.PERSON, 0.5)]
    kept = [(text[f.start : f.end], f.kind) for f in resolve(findings, text)]
    assert kept == [("22 November", Kind.DATE), ("2001 Mill Lane", Kind.ADDRESS)]  # ", 7" is too little


@given(st.lists(spans, max_size=12))
def test_findings_that_overlap_leave_little_uncovered(raw: list[tuple[int, int, Kind, float]]) -> None:
    """With letters only, no finding has a gap of three characters that nothing masks."""
    findings = [Finding(a, a + n, kind, score) for a, n, kind, score in raw]
    kept = resolve(findings, "x" * 40)
    assert all(a.end <= b.start for a, b in pairwise(kept))
    covered = {i for k in kept for i in range(k.start, k.end)}
    for f in findings:
        assert "---" not in "".join(" " if i in covered else "-" for i in range(f.start, f.end))


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=80))
def test_any_text_can_be_scrubbed(patterns: Scrubber, text: str) -> None:
    assert all(0 <= f.start < f.end <= len(text) for f in patterns.find(text))


def test_profiles() -> None:
    assert parse_profile('full(without="age")').accepts(Kind.AGE, 1.0) is False
    assert parse_profile("full(person=0.7)").accepts(Kind.PERSON, 0.6) is False
    assert Scrubber('patterns(mode="remove")').scrub("at 10.1.2.3 now").text == "at  now"
    for wrong in (
        "some",
        "full(nobody=0.5)",
        "full(threshold=2)",
        'full(mode="x")',
        "none(threshold=0.1)",
        "full(age=False)",
    ):
        with pytest.raises(ConfigError):
            Scrubber(wrong)


def test_surrogates_agree_within_a_client_only() -> None:
    key = bytes(range(32))
    one, again, other = Surrogates(key, "a"), Surrogates(key, "a"), Surrogates(key, "b")
    names = ["Jane", "Robert", "Maria", "Wei", "Ola", "Juan"]
    assert [one.surrogate(Kind.PERSON, n) for n in names] == [again.surrogate(Kind.PERSON, n) for n in names]
    assert [one.surrogate(Kind.PERSON, n) for n in names] != [other.surrogate(Kind.PERSON, n) for n in names]
    number = one.surrogate(Kind.PHONE, "+44 151-234")
    assert [c if not c.isdigit() else "0" for c in number] == list("+00 000-000")
    text = Scrubber('patterns(mode="pseudonym")').scrub("a.b@example.org a.b@example.org", Counter(), one).text
    assert text.split()[0] == text.split()[1] != "a.b@example.org"


def test_score_by_hand() -> None:
    score = Score()
    score.add("Jane met Bob", [(0, 4, "PER"), (9, 12, "PERSON")], [(0, 8, "PERSON")])
    row = score.rows()[0]
    assert (row["recall"], row["precision"], row["recall_overlap"]) == (0.0, 0.0, 0.5)
    assert score.masked == {"char_recall": round(4 / 7, 4), "char_precision": round(4 / 7, 4)}


def test_score_file(tmp_path: Path) -> None:
    gold = tmp_path / "gold.jsonl"
    gold.write_text('{"text": "ping 10.1.2.3", "spans": [{"start": 5, "end": 13, "label": "IP_ADDRESS"}]}\n')
    assert score_file(gold, "patterns").rows()[0]["recall"] == 1.0


def test_a_scrubbed_file_is_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "ping 10.1.2.3"}\n')
    scrub_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", "patterns", spans=False)
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {"text": "ping <IP_ADDRESS>"}


@pytest.mark.slow
def test_names_model_alone_and_among_others() -> None:
    full = Scrubber()
    text = "I spoke to Maria Lopez about it, she lives with tom in Leeds."
    assert {"Maria Lopez"} <= {text[f.start : f.end] for f in full.find(text) if f.label == "PERSON"}
    before = full.find(text)
    full.find("Somebody else wrote a much longer text about Berlin and Anna Schmidt. " * 20)
    assert full.find(text) == before
    others = [text, "Dear Ann,\nmail bob@example.org", "", text, "Tom", "word " * 9_000 + "from Maria Lopez"]
    assert full.find_all(others) == [full.find(t) for t in others]


@pytest.mark.slow
def test_processes_find_what_one_process_finds_and_outlive_a_lost_one(monkeypatch):
    monkeypatch.setattr(engine, "worth", lambda characters: 2)
    texts = [text for _, text, _ in CASES[::3]] + ["", "a lone surrogate \ud800 here", "x" * 5000]
    scrubber = Scrubber('full(without="age", person=0.6)')
    alone = [scrubber.find(t) for t in texts]
    with scrubber.spread(0) as threads:
        assert list(in_order(scrubber.find, texts, threads)) == alone
        victim = scrubber._analyzer._idle.get()
        victim.process.kill()
        scrubber._analyzer._idle.put(victim)
        assert list(in_order(scrubber.find, texts, threads)) == alone
        assert scrubber.find_all(texts) == alone
    assert [scrubber.find(t) for t in texts] == alone


@pytest.mark.slow
def test_processes_that_are_at_work_end_at_once() -> None:
    processes, said = Processes(parse_profile("patterns"), 1), list[str]()
    processes.analyze_all(["warm"])

    def work() -> None:
        try:
            processes.analyze_all(["Write to ann@example.org or call 030 1234567. " * 200_000])
        except CorpusError as error:
            said.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.5)
    processes.close()
    thread.join(10.0)
    assert not thread.is_alive() and said == ["The scrubbing was stopped."]


def test_after_an_error_nothing_is_waited_for() -> None:
    goes_on = threading.Event()

    def work(number: int) -> int:
        if number == 1:
            goes_on.wait(30.0)
        return 1 // number

    with pytest.raises(ZeroDivisionError):
        list(in_order(work, [0, 1, 2], 2))
    goes_on.set()


@pytest.mark.slow
def test_a_text_that_cannot_be_scrubbed_is_not_quoted(tmp_path, monkeypatch):
    (tmp_path / "thrower.py").write_text(
        "from presidio_analyzer import EntityRecognizer\n"
        "class Thrower(EntityRecognizer):\n"
        "    def load(self): pass\n"
        "    def analyze(self, text, entities, nlp_artifacts=None): raise ValueError(text)\n"
        "def build(): return Thrower(supported_entities=['PERSON'])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(engine, "worth", lambda characters: 1)
    scrubber = Scrubber('patterns(extra="thrower")')
    with scrubber.spread(0), pytest.raises(CorpusError) as error:
        scrubber.find("my secret words")
    assert "secret" not in str(error.value) and "ValueError" in str(error.value)
    with scrubber.spread(0), pytest.raises(CorpusError, match=r"^One of 2 texts of 5 characters together could not"):
        scrubber.scrub_all(["two", "no"])


@pytest.mark.parametrize("sign", ["-", "_", "a", "1", "1 ", "ab1-", "a@", "a. ", "\n"])
def test_a_long_row_of_one_sign_ends_and_what_stands_around_it_is_found(sign: str) -> None:
    text = f"write to jane.roe@example.org\n{sign * (6_000 // len(sign))}\nor to john.doe@example.org"
    found = [f for f in Scrubber("patterns").find(text) if f.kind.name == "EMAIL"]
    assert [text[f.start : f.end] for f in found] == ["jane.roe@example.org", "john.doe@example.org"]


def test_a_long_secret_is_masked_whole() -> None:
    token = f"eyJ{'aB3' * 400}.{'xY7-' * 900}.{'q_9' * 300}"
    key = "-----BEGIN PRIVATE KEY-----\n" + ("MIIEvQ" * 10 + "\n") * 500 + "-----END PRIVATE KEY-----"
    text = f"{'words before it. ' * 1180}{token} and {key} after"
    left = Scrubber("patterns").scrub(text, Counter()).text
    assert not any(part in left for part in ("aB3", "xY7", "q_9", "MIIE"))


def test_segments_cover_a_text_and_are_cut_between_lines_sentences_or_words() -> None:
    assert segments("") == [] and segments("short") == [(0, 5)]
    text = "A sentence of a few words. " * 3000 + "x" * 1700 + "\n" + "word " * 9000
    spans = segments(text)
    assert spans[0][0] == 0 and spans[-1][1] == len(text)
    assert all(a[1] == b[0] for a, b in pairwise(spans)) and max(b - a for a, b in spans) <= SEGMENT_CHARACTERS
    inside = [b for _, b in spans[:-1] if not text[b - 1].isspace()]
    assert inside and all("x" in text[b - 1 : b + 1] for b in inside)  # words are whole, but for one that nobody writes
