"""A node's worker answers processes of its own user only."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from clients.ipc.frames import is_own_user, unix_path
from clients.policy import Policy
from fedlm.system.processes import child_environment, module_command


def test_the_other_end_is_told_by_the_system_and_must_be_this_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as caller:
        with unix_path(tmp_path / "s") as address:
            listener.bind(address)
            listener.listen()
            caller.connect(address)
        channel, _ = listener.accept()
        with channel:
            assert is_own_user(channel)
            me = os.getuid()
            monkeypatch.setattr(os, "getuid", lambda: me + 1)
            assert not is_own_user(channel)


@pytest.mark.slow
@pytest.mark.parametrize(("plugin", "says"), [("no_such.module:Rule", "no module"), ("json:Rule", "has no Rule")])
def test_a_plug_in_of_the_policy_that_does_not_load_ends_the_worker_before_it_listens(
    plugin: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "policy.toml").write_text(Policy(plugins=(plugin,)).to_toml())
    words = ["--socket", tmp_path / "s" / "w", "--policy", tmp_path / "policy.toml", "--vault", tmp_path / "v.db"]
    command = module_command("clients.worker", *words)
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, says in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert not (tmp_path / "s").exists()
