"""A message whose run ends while it is pulled leaves nothing behind in Flower's SuperNode."""

from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run, RunNotRunningException
from flwr.supernode import start_client_internal
from flwr.supernode.nodestate import NodeStateFactory

from clients.deploy.supernode import _OPEN, without_leftovers
from server.engines.local import take_identity

pytestmark = pytest.mark.flower


@pytest.mark.parametrize("ends", [True, False])
def test_a_message_that_is_given_up_leaves_no_task(ends: bool) -> None:
    take_identity()
    store = ObjectStoreFactory().store()
    state = NodeStateFactory(objectstore_factory=ObjectStoreFactory()).state()
    run = Run.create_empty(1)
    state.set_node_id(7)
    state.store_run(run)
    message = Message(RecordDict({"config": ConfigRecord({"a": 1})}), 7, MessageType.TRAIN)
    message.metadata.__dict__["_message_id"] = message.object_id
    objects = {name: made.deflate() for name, made in get_all_nested_objects(message).items()}

    def pull_object(run_id: int, name: str) -> bytes:
        if ends:
            raise RunNotRunningException
        return objects[name]

    def one_message() -> Any:
        return message, get_object_tree(message)

    pull = without_leftovers(start_client_internal._pull_and_store_message)
    given = pull(
        state=state,
        object_store=store,
        node_config={},
        receive=one_message,
        get_run=lambda run_id: run,
        get_fab=None,
        pull_object=pull_object,
        confirm_message_received=lambda run_id, name: None,
        trusted_entities=None,
    )
    assert given == (None if ends else 1)
    assert len(state.get_tasks(statuses=_OPEN)) == (0 if ends else 1)
    assert len(state.get_messages_legacy()) == (0 if ends else 1)
