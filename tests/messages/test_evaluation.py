"""`evaluate` and what else brings held-out figures: per client, or their sum with a histogram."""

import math

import numpy as np
import pytest
from flwr.app import Array, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given, settings

from fedlm.messages.evaluation import (
    BIN_NATS,
    HISTOGRAM_BINS,
    ClientFigures,
    EvaluateRequest,
    GroupFigures,
    ReferenceRequest,
    ScoreRequest,
    read_figures,
)
from fedlm.messages.fields import Malformed, pseudonym_bytes, weights_record
from fedlm.messages.records import as_array
from fedlm.types import Evaluated, TextMetrics
from tests.support import malformed as m

pytestmark = pytest.mark.flower
NODE, CLIENTS = 7, np.array([3, 2**64 - 1], np.uint64)
WEIGHTS = (np.arange(6, dtype=np.float32).reshape(2, 3), np.full((), 2.5, np.float32))
ARRAYS = weights_record(WEIGHTS)
COUNTS = (1, 1, *[0] * (HISTOGRAM_BINS - 2))
METRICS = (TextMetrics(1.5, 1, 3, 4), TextMetrics(math.inf, 0, 2, 2))  # a model that diverged has such losses


def bits(weights: tuple[np.ndarray, ...]) -> list[bytes]:
    return [w.tobytes() for w in weights]


def test_requests_arrive_as_they_were_sent() -> None:
    evaluate = EvaluateRequest.read(m.sent(EvaluateRequest("{}", 4, CLIENTS, ARRAYS).content()))
    assert (evaluate.settings, evaluate.server_round, evaluate.clients.tolist()) == ("{}", 4, CLIENTS.tolist())
    assert bits(evaluate.weights) == bits(WEIGHTS) and evaluate.part is Evaluated.HELD_OUT
    for part in Evaluated:
        asked_for = EvaluateRequest("{}", 4, CLIENTS, ARRAYS, part)
        assert EvaluateRequest.read(m.sent(asked_for.content())).part is part
    for centralised in (True, False):
        asked = ReferenceRequest("{}", CLIENTS, ARRAYS, 5, centralised)
        found = ReferenceRequest.read(m.sent(asked.content()))
        assert (found.passes, found.centralised, found.clients.tolist()) == (5, centralised, CLIENTS.tolist())
        assert bits(found.weights) == bits(WEIGHTS)
    for texts in (["one", "", "zwei\0\N{SNOWMAN}"], []):
        scored = ScoreRequest.read(m.sent(ScoreRequest("{}", ARRAYS, texts).content()))
        assert list(scored.texts) == texts and bits(scored.weights) == bits(WEIGHTS) and not scored.before
        after = ScoreRequest.read(m.sent(ScoreRequest("{}", ARRAYS, texts, texts[::-1]).content()))
        assert list(after.before) == texts[::-1]


def test_figures_arrive_as_they_were_sent() -> None:
    for clients, metrics, weights in ((CLIENTS, METRICS, WEIGHTS), (CLIENTS, METRICS, None), (CLIENTS[:0], (), None)):
        found = ClientFigures.read(m.sent(ClientFigures(clients, metrics, weights).content()))
        assert found.clients.tolist() == clients.tolist() and tuple(found.metrics) == metrics
        assert (found.weights is None) == (weights is None) and bits(found.weights or ()) == bits(weights or ())
        assert found.by_client() == dict(zip(clients.tolist(), metrics, strict=True))
    for group in (GroupFigures(METRICS[0], COUNTS), GroupFigures(METRICS[0])):
        assert GroupFigures.read(m.sent(group.content())) == group


def test_a_loss_may_be_no_number_but_a_count_may_not() -> None:
    told = ClientFigures(CLIENTS, (METRICS[0], TextMetrics(math.nan, 0, 2, 2)))
    assert math.isnan(ClientFigures.read(m.sent(told.content())).metrics[1].loss_sum)


def test_a_small_group_has_no_histogram() -> None:
    figures = [TextMetrics(2.0, 0, 1, 1)] * 3
    assert "histogram" not in GroupFigures.of(figures, 4).content()["metrics"]
    counts = GroupFigures.of(figures, 3).content()["metrics"]["histogram"]
    assert isinstance(counts, list) and counts[8] == 3 and sum(counts) == 3  # 2 nats lie in the bin from 2.0 to 2.25


def test_clients_without_held_out_text_do_not_make_a_group_large() -> None:
    silent, told = TextMetrics(), TextMetrics(2.0, 0, 1, 1)
    assert not GroupFigures.of([told, told, silent], 3).histogram
    found = GroupFigures.of([told, told, silent], 2)
    assert sum(found.histogram) == 2 and found.total == TextMetrics(4.0, 0, 2, 2)
    assert GroupFigures.of([], 1) == GroupFigures(TextMetrics())


def test_losses_beyond_the_histogram_lie_in_its_last_bin() -> None:
    far = TextMetrics(HISTOGRAM_BINS * BIN_NATS + 100, 0, 1, 1)
    assert GroupFigures.of([far, TextMetrics(0.0, 0, 1, 1)], 1).histogram == (1, *[0] * (HISTOGRAM_BINS - 2), 1)


HEAD: m.Fields = {
    ("config", "version"): m.NO_VERSION,
    ("config", "settings"): m.NO_TEXT,
    ("config", "round"): m.NO_COUNT,
    ("config", "clients"): m.NO_PSEUDONYMS,
}
_ANY_COUNT = (1, 1.5, [1], [1, 2, 3], [], [1, -1], [-1.0, 1.0], [0.5, 1.0], [math.nan, 1.0], [math.inf, 1.0])
COLUMNS: m.Fields = {
    ("metrics", "loss-sum"): (1, 1.5, [1.0], [1.0] * 3, []),
    ("metrics", "correct"): _ANY_COUNT,
    ("metrics", "tokens"): _ANY_COUNT,
    ("metrics", "characters"): _ANY_COUNT,
}
_COUNT = (*m.NO_COUNT, [1], [])
SUMS: m.Fields = {
    ("metrics", "loss-sum"): ([1.0], []),
    ("metrics", "correct"): _COUNT,
    ("metrics", "tokens"): _COUNT,
    ("metrics", "characters"): _COUNT,
    ("metrics", "histogram"): (1, 0.5, [1.0], [0.5], [-1], [math.nan], [math.inf], [1], [0] * 49),
}
TEXTS = ScoreRequest("{}", ARRAYS, ["a", "b"]).content()
BEFORE: m.Fields = {("config", "before"): (*m.NO_STRINGS, ["one of two"])}
NO_PART = (*m.NO_TEXT, "", "train", "held-out", "VALIDATION", "validation ")
CHOICES: m.Fields = {("config", "passes"): m.NO_COUNT, ("config", "centralised"): m.NO_FLAG}
TABLE = [
    (EvaluateRequest, EvaluateRequest("{}", 4, CLIENTS, ARRAYS).content(), {**HEAD, ("config", "part"): NO_PART}),
    (ReferenceRequest, ReferenceRequest("{}", CLIENTS, ARRAYS, 2, True).content(), {**HEAD, **CHOICES}),
    (ScoreRequest, TEXTS, {**HEAD, ("config", "clients"): (), ("config", "texts"): m.NO_STRINGS, **BEFORE}),
    (ClientFigures, ClientFigures(CLIENTS, METRICS).content(), {**COLUMNS, ("config", "clients"): m.NO_PSEUDONYMS}),
    (GroupFigures, GroupFigures(METRICS[0], COUNTS).content(), SUMS),
]
OPTIONAL = {(ScoreRequest, "clients is missing"), (GroupFigures, "histogram is missing")}
WRONG = [
    pytest.param(kind, content, id=f"{kind.__name__}: {what}")
    for kind, whole, fields in TABLE
    for what, content in m.wrong(whole, fields)
    if (kind, what) not in OPTIONAL
]


@pytest.mark.parametrize(("kind", "content"), WRONG)
def test_a_wrong_field_is_malformed(kind: type[ClientFigures], content: RecordDict) -> None:
    with pytest.raises(Malformed, match=r"wrong|version|not|malformed|invalid|out of range|unknown"):
        kind.read(content)


@pytest.mark.parametrize(("what", "array"), m.unreadable_arrays(as_array(WEIGHTS[0])))
def test_weights_that_do_not_read_are_malformed(what: str, array: Array) -> None:
    for kind, whole, _ in TABLE[:3]:
        request = kind.read(m.changed(whole, "arrays", "0", array))
        with pytest.raises(Malformed, match=r"cannot be read|not arrays of numbers"):
            assert request.weights
    told = ClientFigures(CLIENTS, METRICS, WEIGHTS).content()
    with pytest.raises(Malformed, match=r"cannot be read|not arrays of numbers"):
        ClientFigures.read(m.changed(told, "arrays", "0", array))
    for other in (ConfigRecord(), MetricRecord()):
        with pytest.raises(Malformed, match="wrong type"):
            ClientFigures.read(m.changed(told, "arrays", record=other))


def test_an_honest_evaluation_is_taken() -> None:
    told = ClientFigures(CLIENTS, METRICS).content()
    assert read_figures(told, NODE, CLIENTS[::-1]) == dict(zip(CLIENTS.tolist(), METRICS, strict=True))
    group = GroupFigures.of([TextMetrics(1.5, 1, 3, 3)] * 2, 1).content()
    assert read_figures(group, NODE, CLIENTS) == {NODE: TextMetrics(3.0, 2, 6, 6)}


def test_a_histogram_of_more_clients_than_were_asked_is_malformed() -> None:
    group = GroupFigures.of([TextMetrics(1.5, 1, 3, 3)] * (len(CLIENTS) + 1), 1)
    few = GroupFigures(TextMetrics(3.0, 2, 6, 6), group.histogram)
    with pytest.raises(Malformed, match="more clients than the request"):
        read_figures(few.content(), NODE, CLIENTS)


@pytest.mark.parametrize("others", [[3], [3, 6], [3, 6, 2**64 - 1], []])
def test_figures_of_other_clients_are_malformed(others: list[int]) -> None:
    clients = np.array(others, np.uint64)
    told = ClientFigures(clients, METRICS[:1] * len(others)).content()
    assert told["config"]["clients"] == pseudonym_bytes(clients)
    with pytest.raises(Malformed, match="not those of the request"):
        read_figures(told, NODE, CLIENTS)


WHOLE = [TABLE[3][1], TABLE[4][1], ClientFigures(CLIENTS, METRICS, WEIGHTS).content()]


@given(m.mangled(WHOLE[0]) | m.mangled(WHOLE[1]) | m.mangled(WHOLE[2]))
@settings(max_examples=400, deadline=None)
def test_whatever_a_node_tells_is_read_or_malformed(content: RecordDict) -> None:
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            found = read_figures(content, NODE, CLIENTS)
    except Malformed:
        return
    assert set(found) in ({NODE}, set(CLIENTS.tolist()))
    assert all(min(f.correct, f.tokens, f.characters) >= 0 for f in found.values())


@pytest.mark.parametrize("kind", [EvaluateRequest, ReferenceRequest, ScoreRequest])
@given(m.mangled(TABLE[0][1]) | m.mangled(TABLE[1][1]) | m.mangled(TABLE[2][1]))
@settings(max_examples=150, deadline=None)
def test_whatever_a_server_asks_is_read_or_malformed(kind: type[EvaluateRequest], content: RecordDict) -> None:
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            assert all(w.dtype == np.float32 for w in kind.read(content).weights)
    except Malformed:
        return
