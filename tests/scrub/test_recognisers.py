"""The contract of `fedlm/scrub/recognisers/`: each file finds its hits, leaves its near misses alone, and outlives any text."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlm.scrub import recognisers
from fedlm.scrub.engine import Scrubber
from fedlm.scrub.kinds import KIND_OF_ENTITY, Kind
from fedlm.scrub.presidio import our_recognisers
from fedlm.scrub.profile import THRESHOLD
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from tests.support.running import fedlm, simulate
from tests.support.toys import toy_recogniser

TOY = "tests.support.toys.toy_recogniser"


def named(module: Any) -> str:
    return str(module.__name__).rpartition(".")[2]


MODULES = [
    pytest.param(m, marks=pytest.mark.slow if m.RUNS_MODEL else [], id=named(m))
    for m in [*our_recognisers(), toy_recogniser]
]


def found(module: Any, text: str) -> list[tuple[str, str]]:
    """Returns (entity, text without blanks around it) of what a recogniser alone finds, at the default threshold."""
    recogniser = module.build()
    results = recogniser.analyze(text, recogniser.supported_entities, None)
    return [(r.entity_type, text[r.start : r.end].strip()) for r in results if r.score >= THRESHOLD]


@pytest.mark.parametrize("module", MODULES)
def test_what_must_be_found_is_found(module: Any) -> None:
    assert module.HITS and module.__doc__
    for text, span in module.HITS:
        spans = found(module, text)
        assert span in {words for _, words in spans}, (text, spans)
        assert all(entity in KIND_OF_ENTITY for entity, _ in spans)


@pytest.mark.parametrize("module", MODULES)
def test_near_misses_are_left_alone(module: Any) -> None:
    assert module.NEAR_MISSES
    for text in module.NEAR_MISSES:
        assert found(module, text) == []


@pytest.mark.parametrize("module", MODULES)
def test_every_entity_has_a_kind_and_every_score_is_a_certainty(module: Any) -> None:
    recogniser = module.build()
    assert set(recogniser.supported_entities) <= set(KIND_OF_ENTITY)
    for text, _ in module.HITS:
        assert all(0 <= r.score <= 1 for r in recogniser.analyze(text, recogniser.supported_entities, None))


@pytest.mark.parametrize("module", MODULES)
@settings(max_examples=25, deadline=None)
@given(text=st.one_of(st.text(max_size=60), st.text("Aa9 .,:@-/#\n", max_size=60)))
def test_any_text_is_read_to_its_end(module: Any, text: str) -> None:
    recogniser = module.build()
    for r in recogniser.analyze(text, recogniser.supported_entities, None):
        assert 0 <= r.start < r.end <= len(text)


def test_a_recogniser_of_entities_without_a_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Path(toy_recogniser.__file__).read_text().replace('"NATIONAL_ID", r', '"SHOE_SIZE", r')
    (tmp_path / "shoes.py").write_text(wrong)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"finds SHOE_SIZE: name a kind"):
        Scrubber('patterns(extra="shoes")')


def test_one_file_in_the_folder_is_a_recogniser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(toy_recogniser.__file__, tmp_path / "badge.py")
    monkeypatch.setattr(recognisers, "__path__", [*recognisers.__path__, str(tmp_path)])
    ((text, span),) = toy_recogniser.HITS
    (finding,) = [f for f in Scrubber("patterns").find(text) if f.kind is Kind.NATIONAL_ID]
    assert text[finding.start : finding.end] == span


@pytest.mark.slow
@pytest.mark.flower
def test_a_toy_recogniser_runs_end_to_end(tmp_path: Path) -> None:
    lines = [{"user": f"u{i % 4}", "text": f"note {i}: show badge AB-{1000 + i} at the door"} for i in range(24)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    profile = f'patterns(extra="{TOY}")'
    done = fedlm("scrub", "mine.jsonl", "out.jsonl", "--scrub", profile, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["NATIONAL_ID"] == 24, done.stderr
    assert "AB-1" not in (tmp_path / "out.jsonl").read_text()
    settings = [f"scrub={profile}", "rounds=1", "cohort_size=2", "model=lstm(units=8, layers=1)", "seq_len=20"]
    summary = simulate("run", tmp_path, corpus="mine.jsonl", settings=settings)
    assert summary["corpus"]["findings"]["NATIONAL_ID"] == 24
    vault = Vault(tmp_path / "run" / "vault.db", KeySource(tmp_path / "run" / "vault.db.key"))
    texts = vault.documents(vault.pseudonym("u1"))
    vault.close()
    assert texts and all(Kind.NATIONAL_ID.placeholder in text and "AB-" not in text for text in texts)
