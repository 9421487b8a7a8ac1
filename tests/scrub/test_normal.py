"""Recognisers read the plain form of a text, and what they find is masked whole in the text as it was written."""

import re
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.disturbed import disturbances, disturbed
from clients.policy import Policy
from fedlm.config_values import read_toml
from fedlm.data.synthetic import synthetic_messages
from fedlm.scrub.characters import LONG, is_invisible
from fedlm.scrub.engine import Finding, Scrubber
from fedlm.scrub.kinds import Kind, readable
from fedlm.scrub.normal import plain, view, views
from fedlm.scrub.surrogates import Surrogates

EVERY = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
LINE_ENDS = ["\r\n", *(c for c in EVERY if len(f"a{c}a".splitlines()) == 2)]
FORMS = ("NFC", "NFD", "NFKC", "NFKD")
PLANTED = [p for p in synthetic_messages(clients=12, messages=8, mail=0.6, seed=4) if p.spans]
LETTER = (
    "From: Álvaro Núñez <alvaro.nunez@example.org>\nTo: Zoë Faßbinder\n\nDear Zoë,\ncall +44 151 234-5678 on 12 March 2020, "
    "or 123-45-6789.\nGB82 WEST 1234 5698 7654 32\n\nBest regards,\nÁlvaro Núñez\n"
)


def of(*categories: str) -> list[str]:
    return [c for c in EVERY if unicodedata.category(c) in categories]


@pytest.fixture(scope="module")
def patterns() -> Scrubber:
    return Scrubber("patterns")


@pytest.fixture(scope="module")
def full() -> Scrubber:
    return Scrubber()


def spelled(text: str, findings: list[Finding]) -> list[tuple[Kind, str, float]]:
    """Returns what was found, in plain form."""
    return [(f.kind, plain(text[f.start : f.end]), f.score) for f in findings]


@pytest.mark.parametrize("space", [c for c in of("Zs") if c != " "], ids=ascii)
def test_a_space_of_any_kind_is_a_space(patterns: Scrubber, space: str) -> None:
    text = LETTER.replace(" ", space)
    assert plain(text) == LETTER
    assert spelled(text, patterns.find(text)) == spelled(LETTER, patterns.find(LETTER))


@pytest.mark.parametrize("dash", [c for c in [*of("Pd"), "\u2212"] if c != "-"], ids=ascii)
def test_a_dash_of_any_kind_parts_the_digits_of_a_number(patterns: Scrubber, dash: str) -> None:
    for number in ("+44 151-234-5678", "123-45-6789", "2020-03-12", "GB82-WEST-1234-5698-7654-32"):
        text = f"it is {number.replace('-', dash)} here"
        assert readable(patterns.scrub(text).text) == readable(patterns.scrub(f"it is {number} here").text)


@pytest.mark.parametrize("end", LINE_ENDS, ids=ascii)
def test_a_line_ends_as_python_says(patterns: Scrubber, end: str) -> None:
    text = LETTER.replace("\n", end)
    assert plain(text) == LETTER
    assert spelled(text, patterns.find(text)) == spelled(LETTER, patterns.find(LETTER))
    assert len(patterns.scrub(text).text.split(end)) == LETTER.count("\n") + 1  # the line ends stay as they were


def test_digits_of_every_script_are_digits() -> None:
    for c in of("Nd"):
        assert plain(f"a{c}b") == f"a{unicodedata.digit(c)}b"
    zeros = [c for c in of("Nd") if unicodedata.digit(c) == 0]
    scrubber = Scrubber("patterns")
    for zero, found in zip(zeros, scrubber.scrub_all([f"ssn {number_in(z)} ok" for z in zeros]), strict=True):
        assert readable(found.text) == "ssn <NATIONAL_ID> ok", ascii(zero)


def number_in(zero: str) -> str:
    return "".join(chr(ord(zero) + int(c)) if c.isdigit() else c for c in "123-45-6789")


def test_what_is_invisible_hides_nothing(patterns: Scrubber) -> None:
    hidden = [c for c in EVERY if is_invisible(c)]
    assert {*of("Cf"), *"\u00ad\u034f\u115f\u180b\u200b\u3164\ufe0f\ufeff\x00\x7f"} <= set(hidden)
    assert not any(c.isspace() for c in hidden)
    for first in range(0, len(hidden), 40):  # many at once: a million is quick, a scrub each is not
        some = "".join(hidden[first : first + 40])
        text = f"{some}From: Ja{some}ne\nmail ja{some}ne@example{some}.org or +44{some} 151 234 5{some}678 now"
        scrubbed = readable(patterns.scrub(text).text)
        assert "mail <EMAIL> or <PHONE> now" in scrubbed and "Ja" not in scrubbed


def test_a_zero_width_space_may_also_part_words(patterns: Scrubber) -> None:
    assert len(views("a\u200bb")) == 2 and len(views("plain")) == 1
    text = "tel\u200b020 7946 0123\u200bor\u200b12 March 2020\u200band\u200b10.1.2.3 at\u200bjane@example.org"
    assert not re.search(r"\d|jane|example", readable(patterns.scrub(text).text))
    assert readable(patterns.scrub("watched\u200b12 Mill Lane\u200b, yes").text) == "watched\u200b<ADDRESS>, yes"
    assert readable(patterns.scrub("mail ja\u200bne@exam\u200bple.org.").text) == "mail <EMAIL>."


def test_no_mark_of_a_name_stays_behind(patterns: Scrubber) -> None:
    marks = of("Mn", "Me", "Mc")
    for first in range(0, len(marks), 20):
        some = "".join(marks[first : first + 20])
        text = f"From: J{some}ane Nuñez{some}\nhi"
        assert readable(patterns.scrub(text).text) == "From: <PERSON>\nhi", ascii(some)


def test_one_character_for_many_is_masked_whole(patterns: Scrubber) -> None:
    assert readable(patterns.scrub("From: Ste\ufb03e Ro\ufb06\n").text).startswith("From: <PERSON>")
    assert view("a\ufb03b").span(2, 3) == (1, 2)  # the second f is a third of the ligature
    assert readable(patterns.scrub("on \u2460\u2461/03/2020.").text) == "on <DATE>."


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("jane&#64;example.org", "jane@example.org"),
        ("jane&#x40;example&period;org", "jane@example.org"),
        ("jane&commat;example&#46;org", "jane@example.org"),
        ("jane&amp;amp;#64;example.org", "jane@example.org"),
        ("jane&#64example.org", "jane@example.org"),
        ("jane%40example.org", "jane@example.org"),
        ("mailto:j%C3%A4ne%2540example%2eorg", "mailto:jäne@example.org"),
        ("tel:+44%20151%20234%205678", "tel:+44 151 234 5678"),
        ("https%3A%2F%2Fexample.org%2Fjane", "https://example.org/jane"),
        ("jane\uff20example\uff0eorg", "jane@example.org"),
        ("A&#769;lvaro&nbsp;N", "Álvaro N"),
        ("https://example.org/a%20b", "https://example.org/a%20b"),  # one word, as the address is
        ("5%20 of it, 10% of 20%", "5%20 of it, 10% of 20%"),
        ("AT&T; R&D &unknown; &#; %zz %E4", "AT&T; R&D &unknown; &#; %zz %E4"),
    ],
)
def test_codes_are_read_as_what_they_mean(patterns: Scrubber, written: str, meant: str) -> None:
    assert plain(written) == meant
    text = f"write {written} now"
    kept = readable(patterns.scrub(text).text)
    assert kept == (text if kept == text else readable(patterns.scrub(f"write {meant} now").text))
    assert bool(patterns.find(text)) == bool(patterns.find(f"write {meant} now"))


def test_printable_ascii_is_its_own_form() -> None:
    text = re.sub(r"[&%\\]", "", "".join(map(chr, range(32, 127)))) + "\t\n"
    assert view(text).text is text and view(text).span(3, 7) == (3, 7)


TEXTS = st.lists(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from([c for c in EVERY if unicodedata.decomposition(c)]),
        st.sampled_from(of("Mn", "Mc", "Me", "Zs", "Pd", "Cf", "Cc")),
        st.sampled_from([*"aé1 \n&%#;@", "&#64;", "%40", "\r\n"]),
    ),
    max_size=12,
).map("".join)


@settings(max_examples=500, deadline=None)
@given(TEXTS)
def test_all_forms_of_a_text_have_one_view(text: str) -> None:
    for form in FORMS:
        assert plain(unicodedata.normalize(form, text)) == plain(text)
    assert plain(text.replace("\r\n", "\n")) == plain(text)
    assert all(c.isprintable() for c in plain(text) if c.isascii() and c not in "\t\n")


def test_several_characters_for_as_many_others_are_one_piece() -> None:
    seen = view("a\u32c9\x1b\x08\u0300b")  # October and a mark, with two invisible signs between
    assert seen.text == "a10\u6708\u0300b" and {seen.span(i, i + 1) for i in range(1, 5)} == {(1, 5)}
    seen = view("x =?utf-8?q?abcdefghijklmnopqrstuv=C3=A9?= y")
    assert seen.text == "x abcdefghijklmnopqrstuv\u00e9 y" and seen.span(5, 6) == (2, 42)


@settings(max_examples=500, deadline=None)
@given(TEXTS, st.data())
def test_spans_are_of_whole_characters_and_in_order(text: str, data: st.DataObject) -> None:
    seen = view(text)
    places = [seen.span(i, i + 1) for i in range(len(seen.text))]
    assert all(0 <= a < b <= len(text) for a, b in places)
    assert places == sorted(places)
    for _, end in places:
        assert not unicodedata.category(text[end : end + 1] or "a").startswith("M")
    if seen.text:
        start = data.draw(st.integers(0, len(seen.text) - 1))
        end = data.draw(st.integers(start + 1, len(seen.text)))
        first, last = seen.span(start, end)
        assert (first, last) == (places[start][0], places[end - 1][1])
        alone = plain(text[first:last])  # a dash needs its neighbours, and a code is in three pieces
        is_alone = not LONG.search(seen.text) and not set("&%\\=<_\t") & set(text) and not set(alone) & set("-")
        if is_alone and "  " not in text and ".." not in plain(text):
            assert seen.text[start:end] in alone


@pytest.mark.parametrize("profile", ["patterns", pytest.param("full", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", disturbances())
def test_a_disturbed_message_has_the_same_findings_at_the_same_places(
    request: pytest.FixtureRequest, profile: str, name: str
) -> None:
    scrubber: Scrubber = request.getfixturevalue(profile)
    if name in ("character references", "percent codes", "all other dashes", "zero-width spaces in words"):
        pytest.skip("changes what a text says: its recall is in docs/scrubbing.md")
    change = disturbances()[name]
    texts = [p.document.text for p in PLANTED]
    before = scrubber.find_all(texts)
    changed = [
        disturbed(t, [(f.start, f.end, f.kind.name) for f in found], change)
        for t, found in zip(texts, before, strict=True)
    ]
    for (text, spans), found in zip(changed, scrubber.find_all([t for t, _ in changed]), strict=True):
        assert [(f.kind.name, plain(text[f.start : f.end])) for f in found] == [
            (k, plain(text[a:b])) for a, b, k in spans
        ]
        assert all(abs(f.start - a) <= 1 and f.end <= b for f, (a, b, _) in zip(found, spans, strict=True))


def crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


def no_break(text: str) -> str:
    return text.replace(" ", "\u00a0").replace("-", "\u2011")


@pytest.mark.parametrize("change", [crlf, no_break, *(lambda t, f=f: unicodedata.normalize(f, t) for f in FORMS)])
def test_a_whole_letter_in_another_form(full_or_patterns: Scrubber, change: Callable[[str], str]) -> None:
    found = full_or_patterns.find(LETTER)
    assert {Kind.PERSON, Kind.EMAIL, Kind.PHONE, Kind.DATE, Kind.NATIONAL_ID, Kind.IBAN} <= {f.kind for f in found}
    pieces = re.split("([ .,<>:\n]+)", LETTER)
    text, places = "", {}
    for piece in pieces:
        places[sum(map(len, pieces[: pieces.index(piece)]))] = len(text)
        text += change(piece)
    other = full_or_patterns.find(text)
    assert spelled(text, other) == spelled(LETTER, found)


@pytest.fixture(params=["patterns", pytest.param("full", marks=pytest.mark.slow)])
def full_or_patterns(request: pytest.FixtureRequest) -> Scrubber:
    scrubber: Scrubber = request.getfixturevalue(request.param)
    return scrubber


def test_what_is_no_finding_stays_as_it_was_written(patterns: Scrubber) -> None:
    text = "\ufeffCafe\u0301\u00a0\u2011 \uff21\u00ad\r\nwrite jane\uff20example.org\u2028\u0661\u0662 \ufb01n"
    assert readable(patterns.scrub(text).text) == text.replace("jane\uff20example.org", "<EMAIL>")


def test_texts_without_anything_visible_have_no_findings(patterns: Scrubber) -> None:
    for text in ("", "\u200b", "\ufeff\u00ad\u2060", "\r\n\u2028", "\u0301\u0323", "\u200b\u0301 \u3164"):
        assert patterns.find(text) == [] and patterns.scrub(text).text == text


def test_a_name_has_one_surrogate_in_every_form() -> None:
    scrubber, one = Scrubber('patterns(mode="pseudonym")'), Surrogates(bytes(range(32)), "a")
    forms = [unicodedata.normalize(form, "From: Álvaro Núñez\n") for form in FORMS] + [
        "From: Álvaro\u00a0Nú\u00adñez\n"
    ]
    assert len({scrubber.scrub(text, None, one).text for text in forms}) == 1


def test_a_module_of_ones_own_reads_the_plain_form() -> None:
    scrubber = Scrubber('patterns(extra="tests.support.toys.toy_recogniser")')
    assert (
        readable(scrubber.scrub("show badge \uff21\u00adB\u2011\u0661\uff12\u0663\uff14 here").text)
        == "show badge <NATIONAL_ID> here"
    )


HOSTILE = {
    "marks": "a" + "\u0301\u0323" * 150_000,
    "marks alone": "\u0301" * 300_000,
    "marks on each letter": "ab\u0335\u0323\u0301" * 60_000,
    "invisible": "é" + "\u00ad" * 300_000,
    "invisible beside letters": "a\u00ad" * 150_000,
    "longest form": "\ufdfa" * 30_000,
    "references": "&amp;" * 60_000,
    "nested references": "&" + "amp;" * 80_000,
    "percent": "%25" * 300_000 + "1%20%20" * 30_000,
    "addresses": "www.a%40 " * 30_000,
    "line ends": "\r\n\r\u2028" * 80_000,
    "dashes": "1\u2014" * 150_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_the_time_is_linear_in_the_length(text: str) -> None:
    def seconds(part: str) -> float:
        started = time.process_time()
        seen = view(part)
        for start in range(0, len(seen.text), 1 + len(seen.text) // 100):
            seen.span(start, min(len(seen.text), start + 5))
        return time.process_time() - started

    short, long = seconds(text[: len(text) // 10]), seconds(text)
    assert long < max(2.0, 40 * short)  # ten times the text; quadratic would be a hundred times
    assert long < 20


def test_a_byte_order_mark_before_settings_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('rounds = 3\nscrub = "patterns"\n', encoding="utf-8-sig")
    assert read_toml(file) == {"rounds": 3, "scrub": "patterns"}
    file.write_text("min_chunk_clients = 2\n", encoding="utf-8-sig")
    assert Policy.load(file).min_chunk_clients == 2
