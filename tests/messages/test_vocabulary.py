"""`query.vocabulary`: which words are asked for, and noised counts of them."""

import numpy as np
import pytest
from flwr.app import RecordDict
from hypothesis import given, settings

from fedlm.messages.fields import Malformed
from fedlm.messages.vocabulary import VocabularyReply, VocabularyRequest
from tests.support import malformed as m

pytestmark = pytest.mark.flower
CLIENTS = np.array([3, 2**64 - 1], np.uint64)
REQUEST, REPLY = VocabularyRequest("{}", CLIENTS, [" tea", "cake"]), VocabularyReply({" tea": 5, "cake": -2})


@pytest.mark.parametrize("candidates", [[" tea", "cake", "tea \N{SNOWMAN}"], []])
def test_a_request_arrives_as_it_was_sent(candidates: list[str]) -> None:
    found = VocabularyRequest.read(m.sent(VocabularyRequest("{}", CLIENTS, candidates).content()))
    assert (found.settings, found.clients.tolist()) == ("{}", CLIENTS.tolist())
    assert list(found.candidates) == candidates


@pytest.mark.parametrize("counts", [{" tea": 5, "cake": -(2**63), "": 2**63 - 1}, {}])
def test_counts_arrive_as_they_were_sent(counts: dict[str, int]) -> None:
    assert VocabularyReply.read(m.sent(VocabularyReply(counts).content())) == VocabularyReply(counts)


REQUEST_FIELDS: m.Fields = {
    ("config", "version"): m.NO_VERSION,
    ("config", "settings"): m.NO_TEXT,
    ("config", "round"): m.NO_COUNT,
    ("config", "clients"): m.NO_PSEUDONYMS,
    ("config", "candidates"): m.NO_STRINGS,
}
REPLY_FIELDS: m.Fields = {
    ("config", "words"): (*m.NO_STRINGS, ["a"], ["a", "b", "c"], [], ["a", "a"]),
    ("config", "counts"): (1, "x", b"x", [1], [1, 2, 3], [], [1.0, 2.0], [0.5, 1.0], ["1", "2"], [True, False]),
}
WRONG = [
    pytest.param(kind, content, id=f"{kind.__name__}: {what}")
    for kind, whole, fields in (
        (VocabularyRequest, REQUEST.content(), REQUEST_FIELDS),
        (VocabularyReply, REPLY.content(), REPLY_FIELDS),
    )
    for what, content in m.wrong(whole, fields)
]


@pytest.mark.parametrize(("kind", "content"), WRONG)
def test_a_wrong_field_is_malformed(kind: type[VocabularyReply], content: RecordDict) -> None:
    with pytest.raises(Malformed, match=r"wrong|version|not|malformed|invalid|out of range|unknown"):
        kind.read(content)


@pytest.mark.parametrize("kind", [VocabularyRequest, VocabularyReply])
@given(m.mangled(REQUEST.content()) | m.mangled(REPLY.content()))
@settings(max_examples=300, deadline=None)
def test_whatever_arrives_is_read_or_malformed(kind: type[VocabularyReply], content: RecordDict) -> None:
    try:
        found = kind.read(content)
    except Malformed:
        return
    if kind is VocabularyReply:
        assert all(type(w) is str and type(n) is int for w, n in found.counts.items())
