"""`query` and `query.export`: who is at a node, the first weights, and a model as a file."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, RecordDict
from hypothesis import given, settings

from fedlm.messages.discovery import COUNTS, DiscoveryReply, DiscoveryRequest, ExportReply, ExportRequest
from fedlm.messages.fields import Malformed, weights_record
from fedlm.messages.records import as_array
from tests.support import malformed as m

pytestmark = pytest.mark.flower
CLIENTS = np.array([3, 2**64 - 1], np.uint64)
WEIGHTS = (np.arange(6, dtype=np.float32).reshape(2, 3), np.full((), 2.5, np.float32))


def reply() -> DiscoveryReply:
    counts = {name: np.array([5 + n, 2**32 - 1], np.uint32) for n, name in enumerate(COUNTS)}
    return DiscoveryReply(b"vault", CLIENTS, counts, WEIGHTS, "compiled")


@pytest.mark.parametrize("wants_weights", [True, False])
def test_a_request_arrives_as_it_was_sent(wants_weights: bool) -> None:
    asked = DiscoveryRequest('{"seed": 1}', wants_weights)
    assert DiscoveryRequest.read(m.sent(asked.content())) == asked


def test_clients_arrive_as_they_were_sent_with_or_without_counts_and_weights() -> None:
    for told in (reply(), DiscoveryReply(b"", CLIENTS[:0]), DiscoveryReply(b"v", CLIENTS, {}, ())):
        found = DiscoveryReply.read(m.sent(told.content()))
        assert (found.vault, found.kernels) == (told.vault, told.kernels)
        assert found.pseudonyms.dtype == np.uint64 and np.array_equal(found.pseudonyms, told.pseudonyms)
        assert {k: v.tolist() for k, v in found.counts.items()} == {k: v.tolist() for k, v in told.counts.items()}
        assert (found.initial is None) == (told.initial is None)
        for w, expected in zip(found.initial or (), told.initial or (), strict=True):
            assert w.tobytes() == expected.tobytes() and not w.flags.writeable


def test_a_model_and_its_request_arrive_as_they_were_sent() -> None:
    asked, answered = ExportRequest("{}", weights_record(WEIGHTS)), ExportReply(b"PK\0", "To be")
    found = ExportRequest.read(m.sent(asked.content()))
    assert found.settings == "{}"
    assert [w.tobytes() for w in found.weights] == [w.tobytes() for w in WEIGHTS]
    assert ExportReply.read(m.sent(answered.content())) == answered


HEAD: m.Fields = {
    ("config", "version"): m.NO_VERSION,
    ("config", "settings"): m.NO_TEXT,
    ("config", "round"): m.NO_COUNT,
    ("config", "clients"): (),  # of no client: it is not read
}
TABLE = [
    (
        DiscoveryRequest,
        DiscoveryRequest("{}").content(),
        {**HEAD, ("config", "weights"): m.NO_FLAG},
    ),
    (
        DiscoveryReply,
        reply().content(),
        {("config", "vault"): m.NO_BYTES, ("config", "kernels"): m.NO_TEXT},
    ),
    (ExportRequest, ExportRequest("{}", weights_record(WEIGHTS)).content(), HEAD),
    (
        ExportReply,
        ExportReply(b"PK", "a").content(),
        {("config", "keras"): m.NO_BYTES, ("config", "sample"): m.NO_TEXT},
    ),
]
OPTIONAL = ("clients is missing",)
WRONG = [
    pytest.param(kind, content, id=f"{kind.__name__}: {what}")
    for kind, whole, fields in TABLE
    for what, content in m.wrong(whole, fields)
    # weights that a reply brings in no record of arrays are none
    if what not in OPTIONAL and not (kind is DiscoveryReply and what.startswith(("arrays is", "no arrays")))
]


@pytest.mark.parametrize(("kind", "content"), WRONG)
def test_a_wrong_field_is_malformed(kind: type[DiscoveryReply], content: RecordDict) -> None:
    with pytest.raises(Malformed, match=r"wrong|version|not|malformed|invalid|out of range|unknown"):
        kind.read(content)


def clients_with(name: str, values: Array) -> RecordDict:
    return m.changed(reply().content(), "clients", name, values)


PSEUDONYMS = as_array(CLIENTS)


@pytest.mark.parametrize(("what", "array"), m.unreadable_arrays(PSEUDONYMS))
@pytest.mark.parametrize("name", ["pseudonyms", "train"])
def test_arrays_of_clients_that_do_not_read_are_malformed(what: str, array: Array, name: str) -> None:
    with pytest.raises(Malformed, match=r"wrong|version|not|malformed|invalid|out of range|unknown"):
        DiscoveryReply.read(clients_with(name, array))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("pseudonyms", np.array([3.0, 5.0])),
        ("pseudonyms", np.array([3, 5])),
        ("pseudonyms", np.array([3, 5], ">u8")),
        ("pseudonyms", np.array([[3, 5]], np.uint64)),
        ("pseudonyms", np.array(3, np.uint64)),
        ("pseudonyms", np.array([3], np.uint64)),
        ("train", np.array([5], np.uint32)),
        ("train", np.array([[5, 6]], np.uint32)),
        ("train", np.array([2**62, 1])),
        ("held_out", np.array([5.0, 6.0])),
        ("held_out", np.array([5.0, np.nan])),
        ("documents", np.array([5, -1])),
    ],
)
def test_clients_and_counts_of_another_kind_are_malformed(name: str, values: np.ndarray) -> None:
    with pytest.raises(Malformed, match=r"not|out of range"):
        DiscoveryReply.read(clients_with(name, as_array(values)))


def test_counts_of_another_name_are_malformed() -> None:
    with pytest.raises(Malformed, match="unknown names"):
        DiscoveryReply.read(clients_with("age", as_array(np.array([41, 17], np.uint32))))


def test_a_reply_without_pseudonyms_is_malformed() -> None:
    content = m.copied(reply().content())
    del content["clients"]["pseudonyms"]
    with pytest.raises(Malformed, match="pseudonyms"):
        DiscoveryReply.read(content)


@pytest.mark.parametrize(("what", "array"), m.unreadable_arrays(as_array(WEIGHTS[0])))
def test_first_weights_that_do_not_read_are_malformed(what: str, array: Array) -> None:
    with pytest.raises(Malformed, match=r"cannot be read|not arrays of numbers"):
        DiscoveryReply.read(m.changed(reply().content(), "arrays", record=ArrayRecord({"0": array})))


@given(m.mangled(reply().content()))
@settings(max_examples=300, deadline=None)
def test_whatever_a_node_tells_is_read_or_malformed(content: RecordDict) -> None:
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            found = DiscoveryReply.read(content)
    except Malformed:
        return
    assert found.pseudonyms.dtype == np.uint64
    assert all(c.shape == found.pseudonyms.shape and (c >= 0).all() for c in found.counts.values())


@pytest.mark.parametrize("kind", [DiscoveryRequest, ExportRequest, ExportReply])
@given(m.mangled(TABLE[2][1]) | m.mangled(TABLE[3][1]) | m.mangled(TABLE[0][1]))
@settings(max_examples=100, deadline=None)
def test_whatever_arrives_is_read_or_malformed(kind: type[ExportRequest], content: RecordDict) -> None:
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            found = kind.read(content)
            assert kind is not ExportRequest or all(w.dtype == np.float32 for w in found.weights)
    except Malformed:
        return
