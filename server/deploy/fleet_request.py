"""A request of the fleet API: its head, read so that no two parsers can disagree about it.

h11 parses and writes every head. It is lenient where HTTP implementations disagree (bare line
feeds, folded lines, repeated lengths), and a disagreement between two parsers is what smuggles a
second request past the first one. So a head that could be read in two ways is refused before and
after h11 has seen it, and the SuperLink gets a new head, never the bytes that came.
"""

import re
from typing import NamedTuple

import h11

_FLEET = re.compile(rb"/v1/fleet/([a-z]+(?:-[a-z]+)*)")
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t"
_LENGTH, _LENGTH_DIGITS = b"content-length", 12
# Headers about one connection, which a proxy does not pass on (RFC 9110, 7.6.1), and those that the
# gateway sets itself.
HOP_BY_HOP = {b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"proxy-authorization", b"expect"}
_NOT_PASSED = HOP_BY_HOP | {b"host"}
HEAD_BYTES = 16384
# The largest bodies: an object is a part of a message (5 MiB of an array at most, unless a single
# record is larger), a list of messages names its objects by hash, and everything else names ids.
_OBJECT, _LIST_BYTES, _OTHER_BYTES = b"push-object", 2**22, 2**16
_LARGEST = {b"push-messages": _LIST_BYTES}


class Refusal(Exception):
    """A request is not forwarded; `status` is the answer's status line after the version, `content` its JSON."""

    def __init__(self, status: str, content: str = "") -> None:
        super().__init__(status)
        self.status, self.content = status, content


class FleetRequest(NamedTuple):
    """A request that may be forwarded.

    Attributes:
      head: method, target and headers, as h11 read them.
      length: bytes of the body.
      parser: h11's state of the node's connection, which writes the response.
    """

    head: h11.Request
    length: int
    parser: h11.Connection


def parsed_request(head: bytes, max_body_bytes: int) -> FleetRequest:
    """Reads a request's head, up to and with the empty line.

    Raises:
      Refusal: it is not a call of the fleet API (403), malformed or ambiguous (400), or its body is
        too large (413).
    """
    # Printable ASCII in lines that end with CR LF: no control character, no bare CR or LF, no
    # folded line.
    if head.replace(b"\r\n", b"").translate(None, _PRINTABLE) or b"\r\n " in head or b"\r\n\t" in head:
        raise Refusal("400 Bad Request")
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    try:
        parser.receive_data(head)
        request = parser.next_event()
    except h11.RemoteProtocolError:
        raise Refusal("400 Bad Request") from None
    if not isinstance(request, h11.Request):
        raise Refusal("400 Bad Request")
    call = _FLEET.fullmatch(request.target)
    if (request.method, request.http_version) != (b"POST", b"1.1") or call is None:
        raise Refusal("403 Forbidden")
    length = _body_length(head, request)
    if length > max_body_bytes or (call[1] != _OBJECT and length > _LARGEST.get(call[1], _OTHER_BYTES)):
        raise Refusal("413 Content Too Large")
    return FleetRequest(request, length, parser)


def _body_length(head: bytes, request: h11.Request) -> int:
    """Returns the length of the body; it is given once and in digits, and there is no other framing.

    h11 merges repeated lengths ("5, 5", or two equal headers), so they are counted in the lines
    themselves.
    """
    fields = [line.partition(b":") for line in head.split(b"\r\n")]
    lengths = [value.strip() for name, _, value in fields if name.lower() == _LENGTH]
    is_chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
    if is_chunked or len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > _LENGTH_DIGITS:
        raise Refusal("400 Bad Request")
    return int(lengths[0])


def rebuilt(request: h11.Request) -> h11.Request:
    """Returns a request's head as it goes to the SuperLink."""
    kept = [(name, value) for name, value in request.headers.raw_items() if name.lower() not in _NOT_PASSED]
    return h11.Request(method=b"POST", target=request.target, headers=[(b"Host", b"127.0.0.1"), *kept])
