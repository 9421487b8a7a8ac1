"""A coordinator whose claims are short and whose ServerApps start slowly, as on a machine that is busy.

    python slow_start.py coordinator FOLDER

starts the real SuperLink, SuperExec and ServerApp, each by way of this file. The file `delay` in
FOLDER has the seconds for which a ServerApp does nothing before it begins to load.
"""

import sys
import time
from pathlib import Path

CLAIM_SECONDS = 4


def command(role: str, *words: str) -> list[str]:
    """Returns the command of one of the processes."""
    return [sys.executable, __file__, role, *words]


def arguments(module: str, words: list[str]) -> list[str]:
    """Returns what a command that runs a module gives it."""
    from fedlm.system.processes import module_command

    assert words[: len(module_command(module))] == module_command(module)
    return words[len(module_command(module)) :]


def coordinator() -> None:
    """Runs the coordinator; its SuperLink is of this file."""
    from server.deploy import coordinator, folder

    original = folder.ServerFolder.superlink
    folder.ServerFolder.superlink = lambda self: command(
        "superlink", *arguments("server.deploy.superlink", original(self))
    )  # type: ignore[method-assign]
    coordinator.main()


def superlink() -> None:
    """Runs the SuperLink with short claims; its SuperExec is of this file."""
    from clients.ipc import claims
    from server.deploy import superlink

    claims._CLAIM_SECONDS = CLAIM_SECONDS
    original = superlink.superexec_command
    superlink.superexec_command = lambda path: command(
        "superexec", *arguments("server.deploy.superexec", original(path))
    )
    superlink.main()


def superexec() -> None:
    """Runs the SuperExec; its ServerApps are of this file."""
    from server.deploy import superexec

    superexec.module_command = lambda module, *words: command("serverapp", *map(str, words))  # type: ignore[attr-defined]
    superexec.main()


def serverapp() -> None:
    """Runs the ServerApp, later."""
    address = sys.argv[sys.argv.index("--runtime-api-address") + 1]
    time.sleep(float((Path(address.removeprefix("unix:")).parent / "delay").read_text()))
    from server.deploy import serverapp

    serverapp.main()


if __name__ == "__main__":
    role = sys.argv.pop(1)
    sys.path.pop(0)  # this folder
    {"coordinator": coordinator, "superlink": superlink, "superexec": superexec, "serverapp": serverapp}[role]()
