"""A vault that something trains on is not changed; a change ends before something trains on it."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedlm.config import RunConfig
from fedlm.errors import VaultError
from fedlm.preparation.vault import prepare
from fedlm.vault import locks
from fedlm.vault.keys import KeySource
from fedlm.vault.operations import forget, rotate
from fedlm.vault.reader import Vault


@pytest.fixture
def sealed(tmp_path: Path) -> tuple[Path, KeySource]:
    rows = [json.dumps({"user": u, "text": f"{u} says {n}."}) + "\n" for u in ("ann", "ben") for n in range(4)]
    (tmp_path / "c.jsonl").write_text("".join(rows))
    vault, source = tmp_path / "v.db", KeySource(tmp_path / "v.key")
    prepare(str(tmp_path / "c.jsonl"), vault, source, RunConfig.checked({"scrub": "none"}), lambda *_: None)
    return vault, source


@contextlib.contextmanager
def another_process(vault: Path, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """One that uses the vault for so long."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom fedlm.vault.locks import in_use\n"
        "with in_use(Path(sys.argv[1])):\n    print(1, flush=True)\n    time.sleep(float(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(vault), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"1\n"
        yield other


def test_a_vault_in_use_is_not_changed(sealed: tuple[Path, KeySource], monkeypatch: pytest.MonkeyPatch) -> None:
    path, source = sealed
    monkeypatch.setattr(locks, "WAIT", 0.1)
    before = path.read_bytes()
    with locks.in_use(path), locks.in_use(path):
        for change in (lambda: rotate(path, source), lambda: forget(path, source, "ann")):
            with pytest.raises(VaultError, match="in use by a run, a node or another change"):
                change()
    assert path.read_bytes() == before
    forget(path, source, "ann")
    with locks.being_changed(path), pytest.raises(VaultError, match="being changed"), locks.in_use(path):
        pass
    Vault(path, source).close()  # reading alone is always allowed
    assert not path.with_name("v.db.use").exists()


def test_what_was_killed_holds_nothing(sealed: tuple[Path, KeySource], monkeypatch: pytest.MonkeyPatch) -> None:
    path, source = sealed
    monkeypatch.setattr(locks, "WAIT", 0.1)
    with another_process(path, 60) as other:
        with pytest.raises(VaultError, match="in use"):
            rotate(path, source)
        other.kill()
    rotate(path, source)


def test_a_change_waits_for_what_is_ending(sealed: tuple[Path, KeySource]) -> None:
    path, source = sealed
    with another_process(path, 0.5):
        rotate(path, source)


def test_no_file_is_left_where_no_vault_is(tmp_path: Path) -> None:
    with locks.in_use(tmp_path / "none.db"):
        assert list(tmp_path.iterdir()) == []
