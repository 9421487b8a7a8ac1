"""Codes that stand for characters hide nothing, and what only looks like a code stays as it is."""

import base64
import html
import quopri
import time
from html.entities import html5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm.scrub.engine import Scrubber
from fedlm.scrub.kinds import readable
from fedlm.scrub.normal import plain, view

PLACES = (  # a text, and what is personal in it
    ("write to {} soon", "zofia.krawczyk@example.org", "EMAIL"),
    ("call {} now", "+44 20 7946 0958", "PHONE"),
    ("we live at {} since May", "221 Baker Street", "ADDRESS"),
    ("on {} we met", "12 March 1984", "DATE"),
    ("to {} please", "DE89 3704 0044 0532 0130 00", "IBAN"),
    ("card {} exp", "4111 1111 1111 1111", "CARD"),
    ("host {} is down", "203.0.113.77", "IP_ADDRESS"),
    ("ssn {} ok", "078-05-1120", "NATIONAL_ID"),
    ("works for {} there", "Harrow & Finch Ltd", "ORGANISATION"),
    ("Dear {},\nthank you", "J\u00fcrgen \u00d6zt\u00fcrk", "PERSON"),
)
CODES = {
    "decimal": lambda s: "".join(f"&#{ord(c)};" for c in s),
    "hexadecimal": lambda s: "".join(f"&#x{ord(c):X};" for c in s),
    "zeros": lambda s: "".join(f"&#{ord(c):07d};" for c in s),
    "twice": lambda s: html.escape(html.escape("".join(f"&#{ord(c)};" for c in s))),
    "no semicolon": lambda s: s.replace(" ", "&nbsp").replace("\u00fc", "&uuml").replace("\u00d6", "&Ouml"),
    "percent": lambda s: "".join(f"%{b:02x}" for b in s.encode()),
    "json": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "bytes": lambda s: "".join(f"\\x{ord(c):02x}" for c in s),
    "escaped signs": lambda s: "".join(f"\\{c}" if c in "@._-+&" else c for c in s),
    "soft line end": lambda s: f"{s[:5]}=\n{s[5:]}",
    "soft line end, CR": lambda s: f"{s[:7]}=\r\n{s[7:]}",
    "quoted-printable": lambda s: quopri.encodestring(s.encode()).decode().rstrip("\n"),
    "header": lambda s: f"=?utf-8?Q?{quopri.encodestring(s.encode(), header=True).decode()}?=",
    "header in base64": lambda s: f"=?UTF-8?b?{base64.b64encode(s.encode()).decode()}?=",
    "tags": lambda s: f"{s[:4]}</b><b>{s[4:]}",
    "break points": lambda s: s.replace(".", "<wbr>.").replace("@", "<wbr/>@"),
    "two spaces": lambda s: s.replace(" ", "  ") if not s.replace(" ", "").strip("+").isdigit() else s,
    "tabs": lambda s: s.replace(" ", "\t") if not s.replace(" ", "").strip("+").isdigit() else s,
}
AROUND = [
    ("_", "_"),
    ("__", "__"),
    ("\\n", "\\n"),
    ("\\r\\n", ""),
    ("\\t", "\\t"),
    ("<b>", "</b>"),
    ("<P>", "</P>"),
    ("<br />", "<br>"),
]
AROUND += [
    ("\u2026", "\u2026"),
    ("...", "..."),
    ('<td class="x">', "</td>"),
    ("**", "**"),
    ("~~", "~~"),
    ("&lt;b&gt;", "&lt;/b&gt;"),
]


@pytest.fixture(scope="module")
def patterns() -> Scrubber:
    return Scrubber("patterns")


def masked(scrubber: Scrubber, text: str) -> str:
    return readable(scrubber.scrub(text).text)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("text", "value", "kind"), PLACES, ids=[kind for *_, kind in PLACES])
def test_a_code_hides_nothing(patterns: Scrubber, code: str, text: str, value: str, kind: str) -> None:
    if kind == "IBAN" and code in ("two spaces", "tabs"):
        pytest.skip("between digits they are columns of a table")
    written = text.format(CODES[code](value))
    assert masked(patterns, written) == masked(patterns, text.format(value)) == text.format(f"<{kind}>")


@pytest.mark.parametrize(("before", "after"), AROUND, ids=[a for a, _ in AROUND])
@pytest.mark.parametrize(("text", "value", "kind"), PLACES[:8], ids=[kind for *_, kind in PLACES[:8]])
def test_marks_around_a_value_hide_nothing(
    patterns: Scrubber, before: str, after: str, text: str, value: str, kind: str
) -> None:
    found = patterns.find(written := text.format(before + value + after))
    first = written.index(value)
    assert [f.kind.name for f in found] == [kind]
    assert found[0].start <= first and found[0].end >= first + len(value)


@pytest.mark.parametrize(
    "text",
    [
        "age=40 of x=3 and y =\n\nnext",
        "5%20 of them, 100% sure",
        r"C:\New\Notes\_me and \\Server\New",
        r"\textbf{word} \nabla \ref",
        "token=C0FFEE1234AB",
        "__init__.py and snake_case and _private",
        "a < b > c, <3, <jane> and <TITLE> <ADDRESS>",
        "1  2   3\t4\t5",
        "AT&T, R&D, a&copy=1",
        "=?broken?Q?x",
        "=?utf-8?b?!?=",
    ],
)
def test_what_only_looks_like_a_code_is_read_as_it_is(text: str) -> None:
    assert plain(text).rstrip() == text.rstrip()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"https:\/\/example.org\/a", "https://example.org/a"),
        (r"\ud83d\ude00 \u0041", "\U0001f600 A"),
        ("M=FCller, Jos=E9,", "M\u00fcller, Jos\u00e9,"),
        ("jane=40example.org", "jane@example.org"),
        ("regards,=20\nJane", "regards, \nJane"),
        ("Name\tJane  Doe", "Name Jane Doe"),
        ("_a b_ (__c__)", " a b ( c )"),
        ('<p class="x" id=y>Dear Jane', '<p class="x" id=y\nDear Jane'),
        ("<li>a</li><li>b", "\na\n\nb"),
        ("jane\u3002doe@example\uff61org", "jane.doe@example.org"),
        ("\U0001f179\U0001f150", "JA"),
    ],
)
def test_codes_are_read(written: str, read: str) -> None:
    assert plain(written) == read


def test_every_name_that_browsers_read_without_a_semicolon_is_read() -> None:
    for name in html5:
        if not name.endswith(";"):
            assert plain(f"a &{name} b") == plain(f"a &{name}; b"), name


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("jane at example dot org", "<EMAIL>"),
        ("jane_at_example_dot_org", "<EMAIL>"),
        ("jane-at-example-dot-org", "<EMAIL>"),
        ("jane\u3010at\u3011example.org", "<EMAIL>"),
        ("jane@example(dot)org", "<EMAIL>"),
        ("jane@example[.]org", "<EMAIL>"),
        ("jane *at* example.org", "<EMAIL>"),
        ("zofia.krawczyk at example.org", "<EMAIL>"),
        ("Jane,221 Baker Street,London", "Jane,<ADDRESS>,London"),
        ("Jane,0151 234 5678,x", "Jane,<PHONE>,x"),
        ("Tel/+44 20 7946 0958", "Tel/<PHONE>"),
        ("my username is \u201czofia77\u201d", "my username is \u201c<USERNAME>\u201d"),
        ("password: **Tr0ub4dor&3**", "password: **<SECRET>"),
        (
            "this.parse and niklas.laxstrom and LocalSettings.php",
            "this.parse and niklas.laxstrom and LocalSettings.php",
        ),
        ("look at example.of this", "look at example.of this"),
    ],
)
def test_disguises_and_neighbours(patterns: Scrubber, text: str, kept: str) -> None:
    assert masked(patterns, f"so {text} ok") == f"so {kept} ok"


@given(st.text(alphabet="ab1 \t\n&#;%4=3D_\\nu0@.<>b/?Q", max_size=40), st.data())
def test_spans_of_decoded_text_are_in_order_and_inside(text: str, data: st.DataObject) -> None:
    seen = view(text)
    places = [seen.span(i, i + 1) for i in range(len(seen.text))]
    assert all(0 <= a < b <= len(text) for a, b in places) and places == sorted(places)
    if seen.text:
        start = data.draw(st.integers(0, len(seen.text) - 1))
        end = data.draw(st.integers(start + 1, len(seen.text)))
        assert seen.span(start, end) == (places[start][0], places[end - 1][1])


HOSTILE = ("\\" * 200_000, "\\u0041" * 40_000, "=?a?Q?" * 40_000, "=\n" * 100_000, "=C3" * 80_000, "<p " * 80_000)
HOSTILE += (
    "_a" * 100_000,
    "_a " * 80_000,
    "__" * 100_000,
    " \t" * 100_000,
    "&nbsp" * 50_000,
    "C:\\" * 70_000,
    "<b>" * 70_000,
)
HOSTILE += (
    "." * 200_000,
    "a,1" * 70_000,
    "=?utf-8?b?" + "QUJD" * 50_000 + "?=",
    "\\n" * 100_000,
    "<p " + "x" * 200_000,
)


@pytest.mark.parametrize("text", HOSTILE, ids=[ascii(t[:12]) for t in HOSTILE])
def test_the_time_is_linear_in_the_length(text: str) -> None:
    def seconds(part: str) -> float:
        started = time.process_time()
        view(part)
        return time.process_time() - started

    short, long = seconds(text[: len(text) // 10]), seconds(text)
    assert long < max(1.0, 40 * short)
