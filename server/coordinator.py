"""The coordinator's process: it supervises the SuperLink on loopback and keeps the open door in front of it."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
import tomllib
from pathlib import Path

from clients.children import Child
from fedlm.errors import FedLMError
from server.certificates import load_public_key
from server.control import Control
from server.proxy import Proxy

_WATCH_SECONDS = 0.2


class ServerFolder:
    """What the coordinator holds; see docs/deployment.md.

    Args:
      path: the folder, mode 0700.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        settings = tomllib.loads((path / "server.toml").read_text())
        self.host, self.port, self.superlink_port = settings["host"], settings["port"], settings["superlink_port"]
        self.max_message_bytes = int(settings["max_message_bytes"])
        self.has_door = bool(settings.get("door", True))  # false: nginx or Caddy is the door

    @property
    def control(self) -> Control:
        """Calls to the SuperLink."""
        return Control(self.superlink_port, self.path / "ca.pem")

    @property
    def proxy(self) -> Proxy:
        """The open door."""
        return Proxy(self.host, self.port, self.superlink_port, self.path, self.max_message_bytes)

    def superlink(self) -> list[str]:
        """Returns the SuperLink's command."""
        options = {
            "--host": "127.0.0.1",
            "--port": str(self.superlink_port),
            "--ssl-certfile": str(self.path / "server.pem"),
            "--ssl-keyfile": str(self.path / "server.key"),
            "--ssl-ca-certfile": str(self.path / "ca.pem"),
            "--database": str(self.path / "state.db"),
        }
        words = [sys.executable, "-P", "-m", "server.superlink", *(w for o in options.items() for w in o)]
        return [*words, "--enable-supernode-auth", "--disable-runtime-dependency-installation"]

    @property
    def environment(self) -> dict[str, str]:
        """What the SuperLink gets besides this process' own variables; its executor looks commands up on PATH."""
        return {
            "FLWR_HOME": str(self.path / "flwr"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        }

    def register_all(self) -> None:
        """Admits the nodes whose public keys lie in `nodes/`."""
        for key in sorted((self.path / "nodes").glob("*.pub")):
            self.control.register(load_public_key(key))


def run(folder: ServerFolder) -> None:
    """Serves until a signal ends the process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    superlink = Child(folder.superlink(), folder.path / "superlink.log", folder.environment)
    if folder.has_door:
        threading.Thread(target=lambda: asyncio.run(_serve(folder)), daemon=True).start()
    registered = False
    try:
        while True:
            superlink.watch()  # in the main thread: a child dies with the thread that started it
            if not registered:
                with contextlib.suppress(FedLMError):
                    folder.register_all()
                    registered = True
            time.sleep(_WATCH_SECONDS)
    except KeyboardInterrupt:
        pass
    finally:
        superlink.stop()


async def _serve(folder: ServerFolder) -> None:
    try:
        await folder.proxy.serve()
    except OSError as error:
        sys.stderr.write(f"The port {folder.port} cannot be opened: {error.strerror}.\n")
        signal.raise_signal(signal.SIGTERM)


def main() -> None:
    """Runs the coordinator of a folder."""
    parser = argparse.ArgumentParser(description="The coordinator of a deployment; `fedlm deploy` starts it.")
    parser.add_argument("folder", type=Path)
    run(ServerFolder(parser.parse_args().folder))


if __name__ == "__main__":
    main()
