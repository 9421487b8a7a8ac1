"""The stamp of a message that may be sent twice, and the echo by which its reply is known."""

import pytest
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given, settings

from fedlm.messages.delivery import Delivery
from fedlm.messages.fields import Malformed
from tests.support import malformed as m

pytestmark = pytest.mark.flower
SENT = Delivery("17", "session-3", 2)


def stamped() -> RecordDict:
    content = RecordDict({"config": ConfigRecord({"settings": "{}"})})
    SENT.stamp(content)
    return content


def test_a_node_knows_a_chunk_again_whatever_the_attempt() -> None:
    found = Delivery.of(m.sent(stamped()))
    assert found is not None and (found.run, found.chunk) == ("17", "session-3")
    content = stamped()
    Delivery("17", "session-3", 9).stamp(content)  # over the first stamp
    assert Delivery.of(content) == found
    assert Delivery.of(RecordDict()) is None


def test_only_the_reply_to_a_chunk_is_its_reply() -> None:
    reply = RecordDict()
    assert not SENT.is_echoed(reply)
    SENT.echo(reply)
    arrived = m.sent(reply)
    assert SENT.is_echoed(arrived) and Delivery("17", "session-3", 9).is_echoed(arrived)
    assert not Delivery("18", "session-3").is_echoed(arrived)
    assert not Delivery("17", "session-30").is_echoed(arrived)


FIELDS: m.Fields = {
    ("config", "settings"): (),
    ("delivery", "run"): m.NO_TEXT,
    ("delivery", "chunk"): m.NO_TEXT,
    ("delivery", "attempt"): (),  # for whoever reads the message's log: a node takes any
}
WRONG = [
    pytest.param(content, id=what) for what, content in m.wrong(stamped(), FIELDS) if what.startswith(("run", "chunk"))
]


@pytest.mark.parametrize("content", WRONG)
def test_a_wrong_stamp_is_malformed(content: RecordDict) -> None:
    with pytest.raises(Malformed, match="wrong type"):
        Delivery.of(content)


@pytest.mark.parametrize("record", [ArrayRecord(), MetricRecord()])
def test_a_stamp_of_another_type_is_none(record: ArrayRecord | MetricRecord) -> None:
    assert Delivery.of(m.changed(stamped(), "delivery", record=record)) is None


@pytest.mark.parametrize("echo", [ConfigRecord(), MetricRecord(), ConfigRecord({"run": 17, "chunk": b"session-3"})])
def test_an_echo_of_another_form_is_none(echo: ConfigRecord | MetricRecord) -> None:
    assert not SENT.is_echoed(RecordDict({"echo": echo}))


@given(m.mangled(stamped()))
@settings(max_examples=200, deadline=None)
def test_whatever_arrives_is_read_or_malformed(content: RecordDict) -> None:
    try:
        found = Delivery.of(content)
    except Malformed:
        return
    assert found is None or (type(found.run) is type(found.chunk) is str)
    SENT.is_echoed(content)
