"""A node for tests of engines: it says what it was asked. As a worker process: python -m tests.support.echo DESCRIPTORS"""

import sys
import threading
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Message, MessageType, RecordDict

from clients.ipc.channel import WorkerChannel
from fedlm.messages.fields import record_weights, weights_record

SILENCE = "say nothing"


def asks(node: int, words: str) -> Message:
    """Returns a message with words, and with a large array that belongs to them."""
    weights = (np.full(4096, sum(words.encode()), np.float32),)
    content = RecordDict({"config": ConfigRecord({"asked": words}), "arrays": weights_record(weights)})
    return Message(content, node, MessageType.QUERY)


class Echo:
    """A node that says what it was asked, and how many messages it had before.

    Args:
      ended: asked for silence, it answers only then.
    """

    def __init__(self, ended: threading.Event) -> None:
        self._before, self._ended = 0, ended

    def answer(self, message: Message) -> RecordDict:
        asked = str(message.content.config_records["config"]["asked"])
        if asked == SILENCE:
            self._ended.wait()
        (array,) = record_weights(message.content.array_records["arrays"])
        values = [float(value) for value in np.unique(array)]
        content = RecordDict({"config": ConfigRecord({"asked": asked, "before": self._before, "values": values})})
        self._before += 1
        return content


def said(reply: Message) -> tuple[int, str, int]:
    """Returns which node replied to what, and how many messages it had before; the array was that of the words."""
    assert not reply.has_error(), reply.error
    config: Any = reply.content.config_records["config"]
    assert config["values"] == [float(sum(config["asked"].encode()))]
    return reply.metadata.src_node_id, config["asked"], config["before"]


def main() -> None:
    """Answers until the other side closes the channel."""
    node = Echo(threading.Event())

    def reply() -> Message | None:  # nothing of a message is held when it is answered
        message = channel.receive()
        return None if message is None else Message(node.answer(message), reply_to=message)

    with WorkerChannel([int(word) for word in sys.argv[1:]]) as channel:
        while (answer := reply()) is not None:
            channel.send(answer)


if __name__ == "__main__":
    main()
