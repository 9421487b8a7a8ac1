"""A node's worker answers processes of its own user only."""

import os
import socket
from pathlib import Path

import pytest

from clients.ipc.frames import unix_path
from clients.worker import is_own_user


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
