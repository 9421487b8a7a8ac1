"""Flower's SuperNode on a Unix socket, as a process that ends when its connection does: its supervisor restarts it.

It hands out its tasks on the socket and on no port. Ending works around two faults of Flower 1.41:
- An unexpected response of the SuperLink, such as an internal error, ends the connection but not the
  process, which then keeps its port open but never connects again.
- A message whose run ends while it is pulled leaves its task behind. The reply to that task would
  be sent in place of the next message's reply, and from then on every reply would come one message
  late.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.app import Message
from flwr.common.constant import Status, SubStatus
from flwr.supernode import start_client_internal
from flwr.supernode.cli.flower_supernode import flower_supernode
from flwr.supernode.nodestate import NodeState

from clients.ipc.claims import patient_claims
from clients.ipc.http import serve_on
from fedlm.system.memory import forbid_core_dumps

_OPEN = (Status.PENDING, Status.STARTING, Status.RUNNING)


def without_leftovers(pull: Callable[..., int | None]) -> Callable[..., int | None]:
    """Wraps Flower's `_pull_and_store_message`: an abandoned message leaves neither a task nor content behind."""

    def pull_one(*, state: NodeState, receive: Callable[[], Any], **more: Any) -> int | None:
        begun = {task.task_id for task in state.get_tasks(statuses=_OPEN)}
        received: list[Message] = []

        def noting() -> Any:
            found = receive()
            received.extend([] if found is None else [found[0]])
            return found

        run_id = pull(state=state, receive=noting, **more)
        if run_id is None and received:
            for task in state.get_tasks(statuses=_OPEN):
                if task.task_id not in begun:
                    state.finish_task(task.task_id, SubStatus.FAILED, "The message did not arrive completely.")
            message_id = received[0].metadata.message_id
            state.delete_messages(message_ids=[message_id])
            more["object_store"].delete(message_id)
        return run_id

    return pull_one


def main() -> None:
    """Runs the SuperNode that the command line describes; never returns. It takes `--socket PATH` besides Flower's options."""
    forbid_core_dumps()
    parser = argparse.ArgumentParser(description=__doc__, add_help=False, allow_abbrev=False)
    parser.add_argument("--socket", type=Path, required=True)
    ours, sys.argv[1:] = parser.parse_known_args()
    patient_claims()
    serve_on(ours.socket)
    wrapped = without_leftovers(start_client_internal._pull_and_store_message)
    setattr(start_client_internal, "_pull_and_store_message", wrapped)  # noqa: B010 - private to Flower
    try:
        flower_supernode()
    finally:
        os._exit(1)  # the thread that serves the port would keep the process alive


if __name__ == "__main__":
    main()
