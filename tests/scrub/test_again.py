"""Scrubbed text that is scrubbed again keeps its placeholders; a name that is certain once is found everywhere."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.office_text import texts
from fedlm.data.synthetic import synthetic_messages
from fedlm.scrub.engine import Scrubber
from fedlm.scrub.kinds import WRITTEN, Kind, readable
from fedlm.scrub.names.consistency import repeated
from fedlm.scrub.names.lexicon import lexicon

MESSAGES = [p.document.text for p in synthetic_messages(clients=8, messages=12, mail=0.5, seed=9)]
OFFICE = [record["text"] for half in "ab" for record in texts(half, 60, seed=1)]
KINDS = st.sampled_from([f"<{kind.name}>" for kind in Kind])
PIECES = st.sampled_from(
    ["at ", "12 ", "Mill Lane", "a.b@", "mail.org", "https://", "+44 151 ", "4567", " ", "\n", "x:"]
)


@pytest.fixture(scope="module")
def patterns() -> Scrubber:
    return Scrubber("patterns")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(KINDS, PIECES), max_size=9).map("".join))
def test_placeholders_are_never_scrubbed(patterns: Scrubber, text: str) -> None:
    for f in patterns.find(text):
        assert not WRITTEN.search(text[f.start : f.end]) and not any(
            m.start() < f.end and f.start < m.end() for m in WRITTEN.finditer(text)
        )


@pytest.mark.parametrize("sample", [MESSAGES, OFFICE])
def test_patterns_scrub_generated_text_once_and_for_all(patterns: Scrubber, sample: list[str]) -> None:
    once = [readable(s.text) for s in patterns.scrub_all(sample)]
    assert once != sample
    assert [readable(s.text) for s in patterns.scrub_all(once)] == once


@pytest.mark.slow
def test_a_second_scrub_keeps_what_the_first_one_did() -> None:
    """It may find more (a placeholder is another neighbour than a name), but only in what was left."""
    full = Scrubber()
    once = [readable(s.text) for s in full.scrub_all([*MESSAGES, *OFFICE])]
    again = [readable(s.text) for s in full.scrub_all(once)]
    assert sum(a != b for a, b in zip(once, again, strict=True)) <= 0.1 * len(once)
    for first, second in zip(once, again, strict=True):
        kept = iter(WRITTEN.findall(second))
        assert all(kind in kept for kind in WRITTEN.findall(first))


def test_what_a_placeholder_does_not_cover_is_still_found(patterns: Scrubber) -> None:
    text = "mail jane.doe@exa<PERSON>mple.org or 12 Mill <LOCATION> Lane, jane.roe@example.org"
    assert "jane.roe@example.org" in {text[f.start : f.end] for f in patterns.find(text)}


def places(text: str, *names: str, address: str = "") -> list[str]:
    spans = [m.span() for n in names for m in [re.search(re.escape(n), text)] if m]
    mail = [m.span() for m in [re.search(re.escape(address), text)] if m and address]
    return [text[a:b] for a, b in repeated(text, spans, mail, [*spans, *mail], lexicon())]


def test_a_certain_name_is_found_in_its_other_places() -> None:
    text = "From: Kevin Kowalczyk\n\nI asked kevin, and Kowalczyk's boss; Kevin Kowalczyk agrees. The kowalczyk is far, kevina too."
    assert places(text, "Kevin Kowalczyk") == ["kevin", "Kowalczyk", "Kevin Kowalczyk"]
    assert places("From: Ann Will\n\nwill it rain? Will it? I think so.", "Ann Will") == []
    assert places("nobody, Kevin, is certain", "") == []


def test_the_parts_of_an_address_are_names_if_they_are_listed() -> None:
    text = "To: kevin.office@example.org\n\nI spoke to Kevin at the Office, see kevin@other.org."
    assert places(text, address="kevin.office@example.org") == ["Kevin"]
