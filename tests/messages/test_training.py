"""`train`: what a server sends to a node, what comes back, and what is refused on either side."""

from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, RecordDict
from hypothesis import given, settings

from fedlm.aggregation import drift
from fedlm.aggregation.base import Chunk, Payload, RoundPlan
from fedlm.aggregation.exact import ExactSum
from fedlm.aggregation.open import Open, read_sum
from fedlm.messages.fields import Malformed, record_weights, weights_record
from fedlm.messages.records import as_array, record_of
from fedlm.messages.training import TrainRequest, payload_content, read_payload
from fedlm.types import TextMetrics
from tests.support import malformed as m

pytestmark = pytest.mark.flower
WEIGHTS = (np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(4, np.float32), np.full((), 2.5, np.float32))
CLIENTS = np.array([3, 2**64 - 1], np.uint64)
PLAN = RoundPlan(2, WEIGHTS, CLIENTS, further={drift.NAME: drift.is_possible})
OPEN = Open({})


def request() -> TrainRequest:
    told = {"proximal-mu": 0.5, "words": "kept", "on": True}
    vectors = {"control": weights_record(tuple(-w for w in WEIGHTS))}
    return TrainRequest(
        '{"seed": 1}', 7, CLIENTS, weights_record(WEIGHTS), told, {"clip-norm": 0.25, "rate": 1.0}, vectors
    )


REQUEST_FIELDS: m.Fields = {
    ("config", "version"): m.NO_VERSION,
    ("config", "settings"): m.NO_TEXT,
    ("config", "round"): m.NO_COUNT,
    ("config", "clients"): m.NO_PSEUDONYMS,
    ("config", "attempt"): m.NO_COUNT,
}
# What strategy and mechanism tell is theirs: any of it may be missing.
TOLD: m.Fields = {
    ("strategy", "proximal-mu"): (),
    ("strategy", "words"): (),
    ("strategy", "on"): (),
    ("mechanism", "clip-norm"): (),
    ("mechanism", "rate"): (),
}


def test_a_request_arrives_as_it_was_sent() -> None:
    asked, found = request(), TrainRequest.read(m.sent(request().content()))
    assert (found.settings, found.server_round) == (asked.settings, 7)
    assert found.clients.tolist() == CLIENTS.tolist() and found.clients.dtype == np.uint64
    assert found.strategy == asked.strategy and found.mechanism == asked.mechanism and found.clip_norm == 0.25
    assert set(found.vectors) == {"control"}
    for w, sent in zip(WEIGHTS, found.weights, strict=True):
        assert sent.tobytes() == w.tobytes() and sent.shape == w.shape and not sent.flags.writeable


def test_a_request_without_anything_optional_arrives_too() -> None:
    empty = TrainRequest("{}", 1, CLIENTS[:0], weights_record(()))
    found = TrainRequest.read(m.sent(empty.content()))
    assert found.clients.shape == (0,) and found.weights == () and found.clip_norm is None
    assert found.strategy == found.mechanism == found.vectors == {}


WRONG = [
    (what, content)
    for what, content in m.wrong(request().content(), {**REQUEST_FIELDS, **TOLD})
    if not what.startswith(("no vector.", "vector.")) and not any(f"{k} is missing" == what for _, k in TOLD)
]


@pytest.mark.parametrize("content", [c for _, c in WRONG], ids=[w for w, _ in WRONG])
def test_a_request_with_a_wrong_field_is_malformed(content: RecordDict) -> None:
    with pytest.raises(Malformed, match=r"wrong|version|not|malformed|invalid|out of range|unknown"):
        TrainRequest.read(content)


def test_what_a_mechanism_is_told_that_is_no_number_is_not_told() -> None:
    content = m.changed(request().content(), "mechanism", "clip-norm", "0.25")
    assert TrainRequest.read(content).clip_norm is None


@pytest.mark.parametrize(("what", "array"), m.unreadable_arrays(as_array(WEIGHTS[1])))
@pytest.mark.parametrize("record", ["arrays", "vector.control"])
def test_weights_that_do_not_read_are_malformed(what: str, array: Array, record: str) -> None:
    content = m.changed(request().content(), record, "1", array)
    found = TrainRequest.read(content)
    with pytest.raises(Malformed, match=r"cannot be read|not arrays of numbers"):
        assert found.weights and record_weights(found.vectors["control"])


@given(m.mangled(request().content()))
@settings(max_examples=300, deadline=None)
def test_whatever_a_server_sends_is_read_or_malformed(content: RecordDict) -> None:
    try:
        found = TrainRequest.read(content)
        with np.errstate(over="ignore", invalid="ignore"):
            assert all(w.dtype == np.float32 for w in found.weights)
    except Malformed:
        return
    assert found.server_round >= 0 and found.clients.ndim == 1


def payload() -> Payload:
    total = ExactSum.zeros_like(WEIGHTS, further=[drift.NAME])
    update = tuple(np.ones_like(w) for w in WEIGHTS)
    total.add(update, 3, 2, {drift.NAME: drift.direction(update)})
    total.failed = 1
    return OPEN.payload(total, TextMetrics(1.5, 1, 3, 3))


def reply() -> RecordDict:
    return payload_content(payload())


def opened(content: RecordDict) -> tuple[ExactSum, TextMetrics]:
    """Reads a reply as the round does: its form, then what a chunk of one client of two can have sent."""
    found = read_payload(content, WEIGHTS)
    OPEN.check(PLAN, Chunk(7, CLIENTS), found)
    return read_sum(found, PLAN)


def test_an_honest_reply_is_taken() -> None:
    total, metrics = opened(m.sent(reply()))
    assert drift.summary(total)["cosine"] == pytest.approx(1, abs=1e-6)
    assert (total.weight, total.clients, metrics.tokens) == (3, 1, 3)


def test_a_reply_arrives_as_it_was_sent() -> None:
    made, found = payload(), read_payload(m.sent(reply()), WEIGHTS)
    assert found.numbers == made.numbers and set(found.vectors) == set(made.vectors)
    for name, vectors in made.vectors.items():
        assert [v.tobytes() for v in found.vectors[name]] == [v.tobytes() for v in vectors]


def test_a_number_beyond_64_bits_goes_as_a_float() -> None:
    content = payload_content(Payload({"update": ()}, {"weight": 2**80, "norms": -(2**63), "clients": 2**63 - 1}))
    assert read_payload(m.sent(content), ()).numbers == {"weight": 2.0**80, "norms": -(2**63), "clients": 2**63 - 1}


def no_figures(content: RecordDict) -> None:
    del content["metrics"]


def figure(name: str, value: float | list[int]) -> Callable[[RecordDict], None]:
    def damage(content: RecordDict) -> None:
        content["metrics"][name] = value

    damage.__name__ = f"{name} is {value}"
    return damage


def no_figure(name: str) -> Callable[[RecordDict], None]:
    def damage(content: RecordDict) -> None:
        del content["metrics"][name]

    damage.__name__ = f"no {name}"
    return damage


def vectors(name: str, values: ArrayRecord, what: str) -> Callable[[RecordDict], None]:
    def damage(content: RecordDict) -> None:
        content[name] = values

    damage.__name__ = f"{name}: {what}"
    return damage


def array(what: str, values: Array, name: str = "vector.update") -> Callable[[RecordDict], None]:
    def damage(content: RecordDict) -> None:
        content[name]["1"] = values

    damage.__name__ = f"an array of {name} is {what}"
    return damage


def no_update(content: RecordDict) -> None:
    del content["vector.update"]


def no_drift(content: RecordDict) -> None:
    del content["vector.drift"]


def an_unknown_sum(content: RecordDict) -> None:
    content["vector.more"] = content["vector.update"]


def of_another_name(content: RecordDict) -> None:
    content["arrays"] = content["vector.update"]
    del content["vector.update"]


def of_another_type(content: RecordDict) -> None:
    old = content["vector.update"]["1"]
    content["vector.update"]["1"] = Array("int64", (4,), "pickle", old.data)


COUNTS = ("weight", "clients", "failed", "below", "correct", "tokens", "characters", "drift.norms", "drift.clients")
SUM = as_array(np.zeros(4, np.int64))
DAMAGES = [no_figures, no_update, no_drift, an_unknown_sum, of_another_name, of_another_type]
DAMAGES += [no_figure(name) for name in (*COUNTS, "loss-sum")]
DAMAGES += [
    figure(name, value) for name in COUNTS for value in (-1, -1.0, 0.5, float("nan"), float("inf"), -(2**63), [1])
]
DAMAGES += [figure("loss-sum", value) for value in (float("nan"), float("inf"), -float("inf"), [1])]
DAMAGES += [figure("clients", 9), figure("clients", 3), figure("drift.clients", 2), figure("drift.more", 1)]
DAMAGES += [array(*broken) for broken in m.unreadable_arrays(SUM)]
DAMAGES += [
    array("of another shape", as_array(np.zeros(5, np.int64))),
    array("of floats", as_array(np.full(4, np.nan))),
    array("of small integers", as_array(np.zeros(4, np.int32))),
    array("of unsigned integers", as_array(np.zeros(4, np.uint64))),
    array("of the other byte order", as_array(np.zeros(4, ">i8"))),
    array("longer than units", as_array(np.full(4, 2**25)), "vector.drift"),
    array("of another shape", as_array(np.zeros(5, np.int64)), "vector.drift"),
    vectors("vector.update", record_of([np.zeros((2, 3), np.int64), np.zeros(4, np.int64)]), "too few"),
    vectors("vector.update", record_of([np.zeros(w.shape, np.int64) for w in (*WEIGHTS, WEIGHTS[0])]), "too many"),
    vectors("vector.update", record_of([]), "none"),
    vectors(
        "vector.update",
        ArrayRecord({f"x{i}": as_array(np.zeros(w.shape, np.int64)) for i, w in enumerate(WEIGHTS)}),
        "of other names",
    ),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_a_damaged_reply_is_refused(damage: Callable[[RecordDict], None]) -> None:
    content = m.copied(reply())
    damage(content)
    with pytest.raises(ValueError, match=r"wrong|version|not|malformed|invalid|out of range|unknown"):
        opened(content)


@pytest.mark.parametrize(
    ("damage", "says"),
    [(figure("weight", [1]), "'weight' is wrong: it is not a number"), (of_another_name, "unknown names")],
)
def test_a_reply_is_read_by_its_layout_before_any_aggregation(damage: Callable[[RecordDict], None], says: str) -> None:
    content = m.copied(reply())
    damage(content)
    with pytest.raises(Malformed, match=says):
        read_payload(content, WEIGHTS)


@pytest.mark.parametrize("what", ["ArrayRecord", "ConfigRecord", "missing"])
def test_a_reply_whose_figures_are_no_metrics_is_malformed(what: str) -> None:
    content = m.copied(reply())
    del content["metrics"]
    if what != "missing":
        content["metrics"] = ArrayRecord() if what == "ArrayRecord" else RecordDict(request().content())["config"]
    with pytest.raises(Malformed, match=r"wrong|version|not|malformed|invalid|out of range|unknown"):
        read_payload(content, WEIGHTS)


@given(m.mangled(reply()))
@settings(max_examples=300, deadline=None)
def test_whatever_a_node_sends_is_read_or_refused_with_a_sentence(content: RecordDict) -> None:
    """Form is `Malformed`; what a form cannot tell is a ValueError of the aggregation, which the round takes as well."""
    try:
        found = read_payload(content, WEIGHTS)
    except Malformed:
        return
    assert all(v.dtype == np.int64 for sums in found.vectors.values() for v in sums)
    try:
        OPEN.check(PLAN, Chunk(7, CLIENTS), found)
    except ValueError:
        return
    total, metrics = read_sum(found, PLAN)
    assert 0 <= total.clients <= 2 and np.isfinite(metrics.loss_sum)
