"""The coordinator's process: it supervises the SuperLink on its Unix socket and runs the gateway in front of it."""

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fedlm.errors import ConfigError, FedLMError
from fedlm.system.locks import supervising
from fedlm.system.memory import forbid_core_dumps
from fedlm.system.processes import Child, rotate_log
from fedlm.system.shortage import telling_shortage
from server.deploy.folder import ServerFolder

_WATCH_SECONDS = 0.2
_BACKLOG = 512


def run(folder: ServerFolder, say: Callable[[str], object]) -> None:
    """Serves until a signal ends the process; reports the address once the port is open.

    Raises:
      ConfigError: the port cannot be opened.
      FedLMError: the folder already has a coordinator, the gateway has ended, or the SuperLink does
        not start.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with supervising(folder.path), contextlib.ExitStack() as stack:
        host, port = folder.listens
        listener = stack.enter_context(open_port(host, port))
        proxied = "" if folder.has_gateway else " for nginx or Caddy"
        say(f"serving {host}:{port}{proxied}; press Ctrl-C to stop")
        gateway = threading.Thread(target=lambda: asyncio.run(folder.gateway.serve(listener)), daemon=True)
        gateway.start()
        superlink = Child(folder.superlink(), folder.path / "superlink.log", folder.environment, say=say)
        registered = False
        try:
            while True:
                registered = registered and superlink.alive
                superlink.watch()  # in the main thread: the child dies with the thread that started it
                for log in ("superlink.log", "supervisor.log"):
                    rotate_log(folder.path / log)
                if not gateway.is_alive():
                    raise FedLMError("The gateway has ended; see its traceback above.")
                if not registered:
                    with contextlib.suppress(FedLMError):
                        folder.register_all()
                        superlink.ready()
                        registered = True
                time.sleep(_WATCH_SECONDS)
        except KeyboardInterrupt:
            pass
        finally:
            superlink.stop()


def open_port(host: str, port: int) -> socket.socket:
    """Returns a listening socket.

    Raises:
      ConfigError: another process uses the port, or this user may not open it.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "no such port"
        raise ConfigError(
            f"{host}:{port} cannot be opened ({reason}): choose another --bind or --port. An existing coordinator "
            "reads them from server.toml, and each node reads the port from its node.toml."
        ) from None
    listener.listen(_BACKLOG)
    return listener


def main() -> None:
    """Runs the coordinator of a folder."""
    forbid_core_dumps()
    parser = argparse.ArgumentParser(description="The coordinator of a deployment; `fedlm deploy` starts it.")
    parser.add_argument("folder", type=Path)
    try:
        with telling_shortage():
            run(ServerFolder(parser.parse_args().folder), print)
    except FedLMError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
