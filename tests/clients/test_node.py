"""What a node says to a message that it cannot read: one sentence, whatever is wrong with it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict

from clients.node import _HANDLERS, Node
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.messages.discovery import ExportRequest
from fedlm.messages.evaluation import EvaluateRequest, ReferenceRequest, ScoreRequest
from fedlm.messages.records import as_array
from fedlm.messages.training import TrainRequest
from server.engines.local import take_identity
from tests.support.malformed import unreadable_arrays

pytestmark = [pytest.mark.slow, pytest.mark.flower]
CLIENTS = np.array([3, 5], np.uint64)
NODE = Node(None)  # type: ignore[arg-type]  # no vault is asked


def requests(arrays: ArrayRecord) -> list[Any]:
    settings = RunConfig().to_settings()
    return [
        TrainRequest(settings, 1, CLIENTS, arrays),
        EvaluateRequest(settings, 1, CLIENTS, arrays),
        ReferenceRequest(settings, CLIENTS, arrays, 1, False),
        ScoreRequest(settings, arrays, ["tea"]),
        ExportRequest(settings, arrays),
    ]


@pytest.fixture(autouse=True)
def identity() -> None:
    take_identity()


@pytest.mark.parametrize("kind", [*_HANDLERS, "train.x", "evaluate.alone", "query.default"])
def test_a_message_of_another_layout_or_kind_is_refused_with_a_sentence(kind: str) -> None:
    known = kind in _HANDLERS
    says = (
        "message is malformed: the record 'config' is missing" if known else f"does not answer messages of type {kind}"
    )
    with pytest.raises(ConfigError, match=says):
        NODE.answer(Message(RecordDict(), 2, kind))


@pytest.mark.parametrize(("what", "array"), unreadable_arrays(as_array(np.zeros(4, np.float32))))
@pytest.mark.parametrize("place", range(5), ids=lambda place: requests(ArrayRecord())[place].kind)
def test_weights_that_do_not_read_are_refused_with_a_sentence(
    what: str, array: Array, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read where they are used, after the model was compiled."""
    trainer = SimpleNamespace(config=RunConfig(), assign=pytest.fail, evaluate_each=pytest.fail)
    monkeypatch.setattr(Node, "_ready", lambda self, settings: trainer)
    request = requests(ArrayRecord({"0": array}))[place]
    with pytest.raises(
        ConfigError, match=r"message is malformed: the arrays (cannot be read|are not arrays of numbers)"
    ):
        NODE.answer(Message(request.content(), 2, request.kind))
