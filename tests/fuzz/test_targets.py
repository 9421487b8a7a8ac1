"""The fuzzer's targets without the fuzzer: its kept corpus, and inputs of Hypothesis."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import targets

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())


def test_kept_corpus_finds_nothing() -> None:
    assert len(CORPUS) > 20
    for file in CORPUS:
        targets.run(file.read_bytes())


def test_seeds_of_the_corpus_find_nothing() -> None:
    for data in targets.seeds().values():
        targets.run(data)


@pytest.mark.parametrize("number", range(len(targets.TARGETS)), ids=[t.__name__ for t in targets.TARGETS])
@given(st.data())
@settings(max_examples=100, deadline=None)
def test_no_input_finds_anything(number: int, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from([s[1:] for s in targets.seeds().values() if s[0] == number]))
    kept = data.draw(st.integers(0, len(seed)))
    targets.run(bytes([number]) + seed[:kept] + data.draw(st.binary(max_size=200)))


def test_targets_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that lets a forged row through, or raises something of its own, is a finding."""
    with monkeypatch.context() as patch:
        patch.setattr(targets, "unseal", lambda *_: b"")
        with pytest.raises(AssertionError, match="nobody sealed"):
            targets.run(b"\0food")
    with monkeypatch.context() as patch:
        patch.setattr(targets, "unpack_documents", lambda plain: [plain.decode()])
        with pytest.raises(UnicodeDecodeError):
            targets.run(b"\1\xff")
