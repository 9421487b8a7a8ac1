"""docs/messages.md names every field of every message."""

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from flwr.app import RecordDict

from fedlm.aggregation.exact import ExactSum, NamedSum
from fedlm.aggregation.open import Open
from fedlm.messages.delivery import Delivery
from fedlm.messages.discovery import COUNTS, DiscoveryReply, DiscoveryRequest, ExportReply, ExportRequest
from fedlm.messages.evaluation import ClientFigures, EvaluateRequest, GroupFigures, ReferenceRequest, ScoreRequest
from fedlm.messages.fields import weights_record
from fedlm.messages.training import TrainRequest, payload_content
from fedlm.messages.vocabulary import VocabularyReply, VocabularyRequest
from fedlm.types import TextMetrics

PAGE = (Path(__file__).parents[2] / "docs/messages.md").read_text(encoding="utf-8")
WEIGHTS = (np.zeros(2, np.float32),)
CLIENTS, ARRAYS, METRICS = np.ones(1, np.uint64), weights_record(WEIGHTS), TextMetrics(1.0, 1, 2, 3)


def requests() -> Iterator[tuple[str, RecordDict]]:
    train = TrainRequest(
        "{}", 1, CLIENTS, ARRAYS, {"proximal-mu": 1.0}, {"clip-norm": 1.0}, {"control": ARRAYS}, attempt=1
    )
    for request in (
        train,
        EvaluateRequest("{}", 1, CLIENTS, ARRAYS),
        ReferenceRequest("{}", CLIENTS, ARRAYS, 1, centralised=True),
        DiscoveryRequest("{}", wants_weights=True),
        ExportRequest("{}", ARRAYS),
        ScoreRequest("{}", ARRAYS, ["tea"]),
        VocabularyRequest("{}", CLIENTS, ["tea"]),
    ):
        content = request.content()
        Delivery("run", "chunk").stamp(content)
        yield f"request {request.kind}", content


def replies() -> Iterator[tuple[str, RecordDict]]:
    total = ExactSum.zeros_like(WEIGHTS)
    total.further["drift"] = NamedSum((np.zeros(2, np.int64),), {"norm": 1})
    yield "reply train", payload_content(Open({}).payload(total, METRICS))
    yield "reply evaluate", GroupFigures.of([METRICS] * 5, 1).content()
    yield "reply evaluate, per client", ClientFigures(CLIENTS, [METRICS], WEIGHTS).content()
    counts = dict.fromkeys(COUNTS, np.ones(1, np.int64))
    yield "reply query", DiscoveryReply(b"vault", CLIENTS, counts, WEIGHTS, "llvm").content()
    yield "reply query.export", ExportReply(b"keras", "sample").content()
    yield "reply query.vocabulary", VocabularyReply({"tea": 1}).content()


def fields(content: RecordDict) -> set[str]:
    """Returns `record.key` for each field, and the record's name for arrays that are weights or vectors."""
    weights = {name for name in content if name == "arrays" or name.startswith("vector.")}
    return weights | {f"{name}.{key}" for name, record in content.items() if name not in weights for key in record}


@pytest.mark.parametrize(
    ("what", "content"), [*requests(), *replies()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_field_is_on_the_page(what: str, content: RecordDict) -> None:
    direction = "## From the coordinator" if what.startswith("request") else "## From a node"
    part = PAGE.partition(direction)[2].partition("\n## ")[0]
    named = {
        span for row in part.splitlines() if row.startswith("|") for span in re.findall(r"`([^`]+)`", row.split("|")[2])
    }
    assert {f for f in fields(content) if not any(fnmatch(f, name) for name in named)} == set(), what
