"""Flower's SuperNode as a process that ends when its connection does, so that its supervisor starts it again.

In Flower 1.41 an answer of the SuperLink that is not expected (an internal error, say) ends the connection and leaves a process
that serves its own port and takes part in nothing.
"""

import os

from flwr.supernode.cli.flower_supernode import flower_supernode


def main() -> None:
    """Runs the SuperNode that the command line describes; never returns."""
    try:
        flower_supernode()
    finally:
        os._exit(1)  # the thread of the port would go on


if __name__ == "__main__":
    main()
