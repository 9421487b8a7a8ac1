"""Codes of error replies on which a server acts; every other error has the exit code of its kind (`fedlm.errors`)."""

from fedlm.errors import CohortError

WAITS = 20
"""The run waits for the node's owner; the message may be sent again."""


class TooFewError(CohortError):
    """Too few clients of a node have held-out text for an evaluation; the run's figures cover the other nodes."""

    exit_code = 21
