"""Names, places and numbers are found in every script that has capitals, and at their usual places in scripts without."""

import re
import unicodedata
from pathlib import Path

import pytest

from fedlm.scrub import letters, recognisers
from fedlm.scrub.engine import Scrubber
from fedlm.scrub.kinds import readable
from fedlm.scrub.normal import plain

EVERY = [chr(code) for code in range(0x20000) if not 0xD800 <= code < 0xE000]
NAMES = (
    "\u0141ukasz \u0141ab\u0119dzki",
    "\u0160\u00e1rka Dvo\u0159\u00e1kov\u00e1",
    "\u0150ry Zsolt",
    "\u0130smail \u015eahin",
    "\u0218tefan \u021aepe\u0219",
    "\u03a3\u03bf\u03c6\u03af\u03b1 \u03a0\u03b1\u03c0\u03b1\u03b4\u03ac\u03ba\u03b7",
    "\u0410\u043d\u043d\u0430 \u041a\u0430\u0440\u0435\u043d\u0438\u043d\u0430",
    "\u0531\u0580\u0561\u0574 \u053d\u0561\u0579",
    "\u10d0\u10dc\u10d0 \u10d1",
    "\u01c4emal \u01c5emi\u0107",
)
UNCASED = (
    "\u738b\u4f1f",
    "\u0928\u0930\u0947\u0902\u0926\u094d\u0930 \u092e\u094b\u0926\u0940",
    "\uae40\ubbfc\uc900",
    "\u0645\u062d\u0645\u062f \u0639\u0644\u064a",
    "\u0e2a\u0e21\u0e0a\u0e32\u0e22",
    "\u05d3\u05d5\u05d3 \u05db\u05d4\u05df",
)


@pytest.fixture(scope="module")
def patterns() -> Scrubber:
    return Scrubber("patterns")


def masked(scrubber: Scrubber, text: str) -> str:
    return readable(scrubber.scrub(text).text)


@pytest.mark.parametrize(
    ("inside", "categories"),
    [
        (letters.CAPITAL, {"Lu", "Lt"}),
        (letters.LOWER, {"Ll"}),
        (letters.UNCASED, {"Lo", "Lm"}),
        (letters.LETTER, {"Lu", "Lt", "Ll", "Lo", "Lm"}),
        (letters.MARK, {"Mn", "Mc"}),
    ],
)
@pytest.mark.parametrize("flags", [0, re.VERBOSE])
def test_a_class_has_the_characters_of_its_categories(inside: str, categories: set[str], flags: int) -> None:
    one = re.compile(f"[{inside}]", flags)
    others = [c for c in EVERY if bool(one.match(c)) is not (unicodedata.category(c) in categories)]
    assert all("GEORGIAN" in unicodedata.name(c) for c in others) and len(others) == (
        46 if inside == letters.UNCASED else 0
    )


@pytest.mark.parametrize("name", [*NAMES, *UNCASED])
@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKD"])
def test_a_name_is_found_where_mails_have_it(patterns: Scrubber, name: str, form: str) -> None:
    name = unicodedata.normalize(form, name)
    assert masked(patterns, f"From: {name} <x@example.org>\n") == "From: <PERSON> <<EMAIL>>\n"
    assert masked(patterns, f"Dear {name},\nhow are you?") == "Dear <PERSON>,\nhow are you?"
    assert masked(patterns, f"see you\n\nBest regards,\n{name}\n") == "see you\n\nBest regards,\n<PERSON>\n"
    assert masked(patterns, f"and my name is {name}") == "and my name is <PERSON>"


def test_every_capital_of_unicode_begins_a_name(patterns: Scrubber) -> None:
    capitals = [c for c in EVERY if unicodedata.category(c) == "Lu" and plain(c) == c]
    assert len(capitals) > 1000
    for first in range(0, len(capitals), 50):
        some = capitals[first : first + 50]
        text = "".join(f"Dear {c}ar\u0161a,\n" for c in some)
        assert masked(patterns, text) == "Dear <PERSON>,\n" * len(some)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("we meet at 12 \u0141ukasza Street today", "we meet at <ADDRESS> today"),
        ("Berlin, \u0160afa\u0159\u00edkstra\u00dfe 5\u00e4, bitte", ", bitte"),
        ("from \u0150ry & \u010capek Ltd", "from <ORGANISATION>"),
        ("the city of \u0141\u00f3d\u017a", "the city of <LOCATION>"),
        ("in \u0160umava County", "in <LOCATION> County"),
        ("ask Dr. \u0141ukasz", "ask <TITLE> \u0141ukasz"),
        ("hey @\u0142ukasz_k!", "hey <USERNAME>!"),
        ("my username is \u015bwit77", "my username is <USERNAME>"),
        ("Jos\u00e9, 43, who", "Jos\u00e9, <AGE>, who"),
        ("\u041a\u041d1234567 it is", "<NATIONAL_ID> it is"),
        ("passport \u041c\u04201234567", "passport <PASSPORT>"),
        ("licence no \u0416\u04161234567", "licence no <DRIVING_LICENCE>"),
        ("00-950 \u0141\u00f3d\u017a", "<POSTCODE> \u0141\u00f3d\u017a"),
        ("dom\u017eale.\u0160koda came", "dom\u017eale.\u0160koda came"),  # a new sentence, no address of the web
    ],
)
def test_other_recognisers_know_other_capitals_too(patterns: Scrubber, text: str, kept: str) -> None:
    assert masked(patterns, text).endswith(kept)


def test_no_recogniser_lists_letters_by_hand() -> None:
    """Outside formats that have ASCII's letters only, classes come from `letters`."""
    for file in Path(recognisers.__file__).parents[0].rglob("*.py"):
        source = file.read_text(encoding="utf-8")
        assert not re.search(r"\u00c0-|-\u00de|\u00df-|-\u00ff|\[a-z\]", source), file
