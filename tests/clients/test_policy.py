"""What a node's policy lets through: types of messages, clients, clip norms and vocabularies."""

from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message

from clients.policy import ANSWERED, Guard, Policy
from fedlm import wire
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from server.local_grid import take_identity

pytestmark = pytest.mark.flower


def message(
    kind: str, clients: tuple[int, ...] = (1, 2), told: dict[str, Any] | None = None, **settings: Any
) -> Message:
    """Returns a message as the server would send it; `told` is what a round adds to its configuration."""
    take_identity()
    config = RunConfig.checked(settings).to_settings()
    record = ConfigRecord(told or {})
    return Message(wire.request(None, np.array(clients, np.uint64), config, 1, 4, record), 2, kind)


@pytest.mark.parametrize("kind", ["train.default", "evaluate.default", "query.default", "evaluate.alone", "train.x"])
def test_another_name_for_a_message_is_refused_before_any_work(kind: str) -> None:
    guard = Guard(Policy(tells_counts=True), lambda asked: pytest.fail("it was handed on"))
    reply = guard.answer(message(kind))
    assert reply.has_error() and f"no message of type {kind}, only train, evaluate," in reply.error.reason


@pytest.mark.parametrize("kind", ANSWERED)
def test_what_a_run_sends_is_answered(kind: str) -> None:
    Policy().check(message(kind))


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_a_small_cohort_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="at least 3 different clients"):
        Policy(smallest_cohort=3).check(message(kind))
