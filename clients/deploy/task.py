"""Pulls a task's message from the SuperNode, and gives up if its content does not arrive.

If a run ends just after the SuperNode has created a task, the task stays without the message's
content. The SuperNode processes one task at a time, and Flower's own function waits minutes for
content, which would delay the node's next run.
"""

import hashlib
import time

from flwr.app import Context, Message
from flwr.common.serde import context_from_proto, message_from_proto
from flwr.proto.node_pb2 import Node  # pylint: disable=E0611
from flwr.proto.runtime_pb2 import (  # pylint: disable=E0611
    PullAppMessagesRequest,
    PullAppMessagesResponse,
    PullTaskInputRequest,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectUnavailableError,
    pull_and_inflate_object_from_tree,
)
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity

_STALLED_SECONDS = 10.0


def take_task(client: RuntimeHttpClient) -> tuple[Message, Context, str, bool]:
    """Returns the message, its context, the SHA-256 of the bundle, and whether the message's content arrived."""
    given = client.PullTaskInput(PullTaskInputRequest())
    TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, given.run.run_id
    TaskIdentity.node_id = given.context.node_id
    context = context_from_proto(given.context)
    digest = hashlib.sha256(given.fab.content).hexdigest()
    pulled = client.PullMessages(PullAppMessagesRequest())
    if not pulled.messages_list:
        raise RuntimeError("The task has no message.")
    message = _pull_content(client, pulled, context)
    if message is None:
        return message_from_proto(pulled.messages_list[0]), context, digest, False
    return message, context, digest, True


def _pull_content(client: RuntimeHttpClient, pulled: PullAppMessagesResponse, context: Context) -> Message | None:
    """Returns the message with its content; None if no part of the content arrived for `_STALLED_SECONDS`."""
    node, run_id, tree = Node(node_id=context.node_id), context.run_id, pulled.message_object_trees[0]
    fetch, last = make_pull_object_fn_protobuf(client.PullObject, node, run_id), time.monotonic()

    def pull(object_id: str) -> bytes:
        nonlocal last
        try:
            content = fetch(object_id)
        except ObjectUnavailableError:  # Flower tries again after this error, and gives up after ObjectPullError
            if time.monotonic() - last > _STALLED_SECONDS:
                raise ObjectPullError(object_id, "no data arrived") from None
            raise
        last = time.monotonic()
        return content

    confirm = make_confirm_message_received_fn_protobuf(client.ConfirmMessageReceived, node, run_id)
    try:
        message = pull_and_inflate_object_from_tree(tree, pull, confirm, return_type=Message)
    except ObjectPullError:
        return None
    message.metadata.__dict__["_message_id"] = tree.object_id  # Flower's message does not carry its own id
    return message
