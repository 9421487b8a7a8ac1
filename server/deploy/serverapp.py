"""Flower's process of one ServerApp, over the SuperLink's Unix socket."""

import importlib
import sys

from clients.ipc.http import connect_over_sockets
from fedlm.plugins.path import unpin
from fedlm.system.memory import forbid_core_dumps

_PACKAGES = {"fedlm", "clients", "server", "scenarios"}


def main() -> None:
    """Runs the ServerApp that the command line names."""
    forbid_core_dumps()
    connect_over_sockets()
    for name in [name for name in sys.modules if name.split(".")[0] in _PACKAGES]:
        del sys.modules[name]  # the bundle brings its own: what is imported already would run in its place
    unpin()  # and what finds ours lies there, too
    importlib.import_module("flwr.superlink.cli.flwr_serverapp").flwr_serverapp()


if __name__ == "__main__":
    main()
