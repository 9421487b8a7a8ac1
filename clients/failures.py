"""What a node says of an error: one sentence to the server, and the place on its own stderr.

    deployment    the sentence quotes no exception; stderr is the node's log: files, lines and types, no exception's text
    simulation    everything is on the user's own machine: under `fedlm --debug`, stderr gets the whole traceback

The text of an exception may quote a client's document, so it stays out of messages and out of logs.
"""

import os
import sys
import traceback

from fedlm.errors import FedLMError, PluginError, PluginFailure
from fedlm.system.processes import DEBUG

_LONGEST_CHAIN = 10


def tell(error: Exception, *, keeps_log: bool) -> str:
    """Returns the sentence for the server, and reports the place of an error in code to stderr.

    Args:
      error: what a request ended with.
      keeps_log: whether stderr is a log (a deployment).
    """
    if not isinstance(error, FedLMError) or isinstance(error, PluginError | PluginFailure):
        _report(error, keeps_log=keeps_log)
    if isinstance(error, FedLMError):
        return error.told if keeps_log else str(error)
    kind = type(error).__name__
    if keeps_log:
        return f"The node failed with an unexpected {kind}; see the node's log."
    return f"A worker failed with an unexpected {kind}; run the command again with fedlm --debug to see its traceback."


def places(error: BaseException) -> str:
    """Returns the traceback of an exception and of its causes without their texts."""
    parts, current = list[str](), error
    for _ in range(_LONGEST_CHAIN):
        parts.append("".join(traceback.format_tb(current.__traceback__)) + f"{type(current).__name__}\n")
        before = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
        if before is None:
            break
        current = before
    return "which was raised after:\n".join(parts)


def _report(error: Exception, *, keeps_log: bool) -> None:
    if keeps_log:
        sys.stderr.write(places(error))
    elif os.environ.get(DEBUG):
        traceback.print_exception(error)
    sys.stderr.flush()
