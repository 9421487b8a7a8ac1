"""What stands for other characters in ASCII: HTML, percent codes, escapes of JSON, quoted-printable, Markdown, runs of blanks.

Each function yields the edits of one step over a text whose characters are plain already (`characters`). All take linear
time. A code that is also ordinary text ("5%20 of them", "age=40") stays.
"""

import html
import re
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from html.entities import html5
from urllib.parse import unquote_to_bytes

Edit = tuple[
    int, int, str, bool
]  # start, end, what stands there instead, whether each of its characters stands for one

# The names that browsers read without a semicolon, the longest first.
_SHORT = "|".join(sorted((name for name in html5 if not name.endswith(";")), key=len, reverse=True))
_REFERENCE = re.compile(
    rf"&(?:amp;)*(?P<body>#[0-9]{{1,7}};?|#[xX][0-9A-Fa-f]{{1,6}};?|[A-Za-z][A-Za-z0-9]{{1,31}};|(?:{_SHORT})(?!=))",
    re.ASCII,
)
_PERCENT = re.compile(r"(?:%(?:25)*[0-9A-Fa-f]{2})+")
_WEB_ADDRESS = re.compile(r"(?i)(?:https?://|ftp://|www\.)\S*")

_ESCAPE = re.compile(
    r"(?P<unicode>(?:\\u[0-9A-Fa-f]{4})+)|\\x(?P<byte>[0-9A-Fa-f]{2})|\\(?P<sign>[!-/:-@\[-`{-~])"
    r"|(?P<end>\\(?:r\\n|[nrt]))(?:(?![a-z])|(?=https?:|www\.|mailto:))"  # a folder or a command of LaTeX may follow
)
_PATH = re.compile(r"(?:\b[A-Za-z]:|(?<!\S)\\)\\\S*")  # C:\New, \\server\New

_QUOTED = re.compile(
    r"(?P<soft>(?<!=)=\n(?!\n))"  # a line that continues
    r"|(?P<utf8>(?:=[C-F][0-9A-F](?:=[89AB][0-9A-F]){1,3})+)"
    r"|(?<=[A-Za-z])=(?P<latin1>[C-F][0-9A-F])(?=[a-z\s,.;:!?)]|$)"
    r"|(?<=\w)(?P<at>=40)(?=[\w-]{1,63}\.[A-Za-z])"
    r"|(?P<equals>=3D)(?=[\"'\w])"
    r"|(?P<blank>=20)(?=\n|$)"
)
_HEADER = re.compile(r"=\?[\w-]{1,40}\?(?:[Qq]\?[^?\s]{1,500}|[Bb]\?[A-Za-z0-9+/]{1,500}={0,2})\?=")  # RFC 2047

# Without title and address, which placeholders are called too (`kinds.readable`).
_INLINE = "abbr|a|bdi|bdo|big|b|cite|code|del|dfn|em|font|i|ins|kbd|mark|q|samp|small|span|strike|strong|sub|sup|s|tt|u|var|wbr"
_BLOCK = (
    "article|aside|blockquote|body|br|center|dd|div|dl|dt|footer|h[1-6]|header|head|hr|html|li|main|nav|ol|pre|p|section|"
    "table|tbody|td|tfoot|thead|th|tr|ul"
)
_TAG = re.compile(
    rf"</?(?:(?P<inline>{_INLINE})|(?:{_BLOCK}))[ \n]*/?>|(?P<long><(?:{_BLOCK})[ \n][^<>]{{0,500}}>)", re.IGNORECASE
)

_EMPHASIS = re.compile(r"(?<![\w@/.+-])(?P<sign>_{1,3})(?=[^\s_])[^\n]{0,200}?(?<=[^\s_])(?P=sign)(?![\w@/-]|\.\w)")
_BLANKS = re.compile(r"(?<=\S)(?:\t[ \t]*| [ \t]+)(?=\S)")


def has_codes(text: str) -> bool:
    """Returns whether a text has something for a step to do."""
    return any(sign in text and pattern.search(text) for sign, pattern in _SCREENS)


_SCREENS = (
    ("&", _REFERENCE),
    ("%", _PERCENT),
    ("\\", _ESCAPE),
    ("=", _QUOTED),
    ("=?", _HEADER),
    ("<", _TAG),
    ("_", _EMPHASIS),
    ("  ", _BLANKS),
    ("\t", _BLANKS),
)


def references(text: str) -> Iterator[Edit]:
    """HTML's character references, also those without a semicolon that browsers read."""
    for found in _REFERENCE.finditer(text):
        body = f"&{found['body']}"
        if (decoded := html.unescape(body)) != body:
            yield *found.span(), decoded, False


def percents(text: str) -> Iterator[Edit]:
    """Percent codes outside web addresses."""
    for found in _outside(_WEB_ADDRESS, _PERCENT, text):  # a blank would cut an address in two; it is found whole
        if text[found.start() - 1 : found.start()].isdigit() and not text[found.end() : found.end() + 1].isalnum():
            continue  # "5%20 of them" is a percentage
        try:
            decoded = unquote_to_bytes(re.sub("%(?:25)+", "%", found[0])).decode()
        except UnicodeDecodeError:
            continue
        yield *found.span(), decoded, False


def escapes(text: str) -> Iterator[Edit]:
    r"""Escapes of JSON and programs, as text that was encoded twice has them: \u0040, \x40, \n, \_."""
    for found in _outside(_PATH, _ESCAPE, text):
        if found["unicode"]:
            units = bytes.fromhex(found["unicode"].replace("\\u", ""))
            yield *found.span(), units.decode("utf-16-be", "replace"), False
        elif found["byte"]:
            yield *found.span(), chr(int(found["byte"], 16)), False
        elif found["sign"]:
            yield *found.span(), found["sign"], False
        else:
            yield *found.span(), "\t" if found["end"] == "\\t" else "\n", False


def headers(text: str) -> Iterator[Edit]:
    """Encoded words of a mail's header (RFC 2047): =?utf-8?Q?Jos=C3=A9?=, also in base64."""
    for found in _HEADER.finditer(text):
        try:
            yield *found.span(), str(make_header(decode_header(found[0]))), False
        except (ValueError, LookupError, HeaderParseError):  # no base64, no such character set
            continue


def quoted_printable(text: str) -> Iterator[Edit]:
    """Codes of a mail's text in quoted-printable that are no ordinary text."""
    for found in _outside(_HEADER, _QUOTED, text):
        if found["utf8"]:
            try:
                yield *found.span(), bytes.fromhex(found["utf8"].replace("=", "")).decode(), False
            except UnicodeDecodeError:
                continue
        elif found["latin1"]:
            yield *found.span(), chr(int(found["latin1"], 16)), False
        else:
            yield *found.span(), {"soft": "", "at": "@", "equals": "=", "blank": " "}[str(found.lastgroup)], False


def tags(text: str) -> Iterator[Edit]:
    """HTML's tags: those in a line vanish, those of blocks end a line; attributes stay, because they may hold data."""
    for found in _TAG.finditer(text):
        if found["long"]:
            yield *found.span(), f"{found['long'][:-1]}\n", True
        else:
            yield *found.span(), "" if found["inline"] else "\n", False


def emphasis(text: str) -> Iterator[Edit]:
    """Markdown's _emphasis_ becomes blanks: `_` counts as a letter of a word."""
    for found in _EMPHASIS.finditer(text):
        first, last = found.span()
        size = len(found["sign"])
        yield first, first + size, " " * size, True
        yield last - size, last, " " * size, True


def blanks(text: str) -> Iterator[Edit]:
    """Several blanks in a line, or a tab, become one space; not between digits, where columns of a table would be one number."""
    for found in _BLANKS.finditer(text):
        if not (text[found.start() - 1].isdigit() and text[found.end()].isdigit()):
            yield *found.span(), " ", False


STEPS = (references, escapes, percents, headers, quoted_printable, tags, emphasis, blanks)


def _outside(places: re.Pattern[str], codes: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Yields the codes that share no character with one of the places."""
    following = places.finditer(text)
    place = next(following, None)
    for found in codes.finditer(text):
        while place is not None and place.end() <= found.start():
            place = next(following, None)
        if place is None or place.start() >= found.end():
            yield found
