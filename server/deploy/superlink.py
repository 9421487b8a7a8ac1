"""Flower's SuperLink on a Unix socket, with a patient database and ServerApps of ours.

- It listens on a Unix socket and on no port: its control API runs anyone's code, and its runtime API
  hands a run's ServerApp to anyone (`clients/ipc/http.py`).
- SQLite waits a minute for a lock instead of five seconds. On a busy machine, five seconds can pass;
  the SuperLink then responds with an internal error, and the message is lost.
- A claim on a task lasts for minutes (`clients/ipc/claims.py`).
- It starts its SuperExec again if that has ended.
"""

import argparse
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.supercore import sql_mixin
from flwr.supercore.constant import SQLITE_PRAGMAS

from clients.ipc.claims import patient_claims
from clients.ipc.http import SCHEME, serve_on
from fedlm.system.memory import forbid_core_dumps
from fedlm.system.processes import module_command

_BUSY_MILLISECONDS = 60_000
_WATCH_SECONDS = 1.0


def patient_pragmas() -> tuple[tuple[str, str], ...]:
    """Returns Flower's SQLite settings with a longer wait for a lock."""
    return tuple((n, str(_BUSY_MILLISECONDS) if n == "busy_timeout" else v) for n, v in SQLITE_PRAGMAS)


def superexec_command(path: Path) -> list[str]:
    """Returns the command of the process that starts ServerApps; `path` is the SuperLink's socket."""
    address = f"{SCHEME}{path}"
    words = ["--insecure", "--runtime-api-address", address, "--parent-pid", os.getpid()]
    return module_command("server.deploy.superexec", *words)


def watched(start: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wraps the method that starts Flower's SuperExec: a SuperExec that has ended is started again."""

    def start_and_watch(link: Any) -> None:
        start(link)

        def watch() -> None:
            while (process := link.superexec_process) is not None:  # None once the SuperLink stops
                if process.poll() is not None:
                    start(link)
                time.sleep(_WATCH_SECONDS)

        threading.Thread(target=watch, daemon=True).start()

    return start_and_watch


def main() -> None:
    """Runs the SuperLink that the command line describes; it takes `--socket PATH` besides Flower's options."""
    forbid_core_dumps()
    parser = argparse.ArgumentParser(description=__doc__, add_help=False, allow_abbrev=False)
    parser.add_argument("--socket", type=Path, required=True)
    ours, sys.argv[1:] = parser.parse_known_args()
    flower = importlib.import_module("flwr.superlink.cli.flower_superlink")  # its package has a function of this name
    setattr(sql_mixin, "SQLITE_PRAGMAS", patient_pragmas())  # noqa: B010 - private to Flower, with its own type
    setattr(flower, "_get_superexec_command", lambda **_: superexec_command(ours.socket))  # noqa: B010
    lifespan: Any = flower.SuperLinkLifespan
    lifespan._start_superexec_if_needed = watched(lifespan._start_superexec_if_needed)
    patient_claims()
    serve_on(ours.socket)
    flower.flower_superlink()


if __name__ == "__main__":
    main()
