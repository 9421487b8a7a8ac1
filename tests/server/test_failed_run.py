"""A ServerApp that fails leaves a sentence and an exit code in its run's folder, whatever the error."""

import errno
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest
from flwr.serverapp import Grid

from fedlm.config import RunConfig
from fedlm.errors import ConfigError, FedLMError, MachineError
from server.app import run_deployed
from server.store.run_folder import DEPLOYED, RunFolder

DOCUMENT = "Dear Ann, the key is under the mat"


class Failing:
    """A grid whose first call fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_node_ids(self) -> Iterable[int]:
        """Fails."""
        raise self._error


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ConfigError("This key is wrong."), 2, "This key is wrong."),
        (FedLMError("The run failed."), 4, "The run failed."),
        (MemoryError(DOCUMENT), MachineError.exit_code, "There is not enough memory"),
        (RuntimeError("can't start new thread"), MachineError.exit_code, "No more threads or processes can be started"),
        (
            OSError(errno.ENOSPC, "No space left", "metrics.jsonl"),
            4,
            "metrics.jsonl cannot be read or written: the disk",
        ),
        (
            OSError(errno.EISDIR, "Is a directory", ".x.new", None, "x"),
            4,
            "x cannot be read or written: it is a folder",
        ),
        (KeyError(DOCUMENT), 4, "The ServerApp failed with an unexpected KeyError at test_failed_run.py:"),
        (ConnectionResetError(DOCUMENT), 4, "unexpected ConnectionResetError at test_failed_run.py:"),
        (UnicodeDecodeError("utf-8", DOCUMENT.encode(), 0, 1, DOCUMENT), 4, "unexpected UnicodeDecodeError at"),
        (ExceptionGroup(DOCUMENT, [ValueError(DOCUMENT)]), 4, "unexpected ExceptionGroup at"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_every_error_is_told(tmp_path: Path, error: Exception, code: int, says: str) -> None:
    folder = RunFolder.create(tmp_path / "run", RunConfig.checked({}))
    about: dict[str, Any] = {"run": "00", "nodes": 1, "coordinator": str(tmp_path)}
    folder.write_text(DEPLOYED, json.dumps(about))
    with pytest.raises(type(error)):
        run_deployed(cast(Grid, Failing(error)), folder.path, 1)
    told = json.loads((folder.path / "error.json").read_text())
    assert (told["code"], says in told["error"]) == (code, True), told
    assert DOCUMENT not in told["error"] and "\n" not in told["error"]


@pytest.mark.parametrize(
    ("file", "content", "code"),
    [
        ("config.toml", "rounds = ", 2),
        ("config.toml", "rounds = -1", 2),
        (DEPLOYED, "{", 4),
        (DEPLOYED, "{}", 4),
    ],
)
def test_a_folder_that_cannot_be_read_is_told_too(tmp_path: Path, file: str, content: str, code: int) -> None:
    folder = RunFolder.create(tmp_path / "run", RunConfig.checked({}))
    folder.write_text(DEPLOYED, json.dumps({"run": "00", "nodes": 1, "coordinator": str(tmp_path)}))
    folder.write_text(file, content)
    with pytest.raises(Exception):  # noqa: B017 - of whatever kind: what is told of it counts
        run_deployed(cast(Grid, Failing(KeyError(DOCUMENT))), folder.path, 1)
    told = json.loads((folder.path / "error.json").read_text())
    assert told["code"] == code and "\n" not in told["error"], told
    assert "test_failed_run" not in told["error"]  # it failed before the grid was asked
