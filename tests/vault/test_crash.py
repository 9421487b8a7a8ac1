"""Killed at every step to the disk, a change leaves the old vault or the new one, and can be made again.

A step is a SQL statement, a rename, an fsync, an unlink or an overwrite. The change runs in a forked process that dies
by SIGKILL before, or right after, its n-th step.
"""

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedlm.errors import VaultError
from fedlm.preparation.add import add
from fedlm.preparation.vault import prepare
from fedlm.vault import tables
from fedlm.vault.keys import KeySource
from fedlm.vault.operations import forget, rotate
from fedlm.vault.reader import Vault
from tests.vault.test_change import RULES, content, corpus, key_of, texts

KMS = "tests.support.small_kms:service"
QUIET: dict[str, Any] = {"progress": lambda *_: None}


def count_steps(stop: int) -> Callable[[], int]:
    """Makes this process die at its step `stop`; returns the count so far."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == stop:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            step()
            result = function(*args, **kwargs)
            step()
            return result

        return call

    class Connection(sqlite3.Connection):
        execute = counted(sqlite3.Connection.execute)
        executemany = counted(sqlite3.Connection.executemany)

    connect = sqlite3.connect
    tables.sqlite3.connect = lambda *a, **k: connect(*a, **{**k, "factory": Connection})  # type: ignore[attr-defined]
    for owner, names in ((os, ("fsync", "pwrite")), (Path, ("replace", "unlink"))):
        for name in names:
            setattr(owner, name, counted(getattr(owner, name)))
    return lambda: steps


def run_and_kill(stop: int, change: Callable[[], object]) -> int:
    """Returns the number of steps if the change ended, minus the signal if it was killed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            steps = count_steps(stop)
            change()
            os.write(write, str(steps()).encode())
        finally:
            os._exit(0)
    os.close(write)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else int(said)


def again(what: str, vault: Path, source: KeySource) -> None:
    if what == "prepare":
        if not vault.exists():
            prepare(str(vault.with_suffix(".jsonl")), vault, source, RULES, **QUIET)
    elif what == "add":
        add(str(vault.with_name("more.jsonl")), vault, source, **QUIET)
    elif what == "rotate":
        rotate(vault, source)
    else:
        forget(vault, source, "b")


def whole(source: KeySource, folder: Path) -> None:
    """Asserts that the provider keeps one key for the vault and none beside it."""
    if source.file is not None:
        key_of(source)
    elif source.provider == KMS:
        (entry,) = json.loads((folder / "kms.json").read_text()).values()
        assert len(entry["keys"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "provider"),
    [("prepare", ""), ("add", ""), ("rotate", ""), ("forget", ""), ("forget", "env(VKEY)"), ("rotate", KMS)],
)
def test_killed_at_every_step(tmp_path: Path, what: str, provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VKEY", "11" * 32)
    monkeypatch.setenv("VKEY_NEXT", "22" * 32)
    for module in ("writer", "index"):
        monkeypatch.setattr(f"fedlm.vault.{module}.BLOCK_CLIENTS", 2)  # a change that spans blocks of the index

    def source_in(folder: Path) -> KeySource:
        monkeypatch.setenv("KMS_FILE", str(folder / "kms.json"))
        return KeySource(provider=provider) if provider else KeySource(folder / "v.key")

    start = tmp_path / "start"
    start.mkdir()
    corpus(start / "v.jsonl", texts("a", "b", "c"))
    corpus(start / "more.jsonl", texts("b", "d", first=5, last=9))
    old = None
    if what != "prepare":
        prepare(str(start / "v.jsonl"), start / "v.db", source_in(start), RULES, **QUIET)
        old = content(start / "v.db", source_in(start))
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(start, undisturbed)
    vault, source = undisturbed / "v.db", source_in(undisturbed)
    every = run_and_kill(0, lambda: again(what, vault, source))
    new = content(vault, source)

    def kill(stop: int) -> None:
        folder = tmp_path / f"{what}-{stop}"
        shutil.copytree(start, folder)
        vault, source = folder / "v.db", source_in(folder)
        assert run_and_kill(stop, lambda: again(what, vault, source)) == -signal.SIGKILL
        check(vault, source)
        shutil.rmtree(folder)

    def check(vault: Path, source: KeySource) -> None:
        try:
            left = content(vault, source)
        except VaultError:
            assert what == "prepare" and not vault.exists()
            left = None
        assert left in (old, new)
        if what != "add" or left == old:
            again(what, vault, source)
            assert content(vault, source) == new
            if what != "prepare":  # a killed one leaves the key of a vault that never was
                whole(source, vault.parent)
            expected = {
                "v.db",
                "v.key",
                "kms.json",
                "v.jsonl",
                "more.jsonl",
                "v.db.spool",
            }  # a spool's key is never written
            assert {p.name for p in vault.parent.iterdir()} <= expected
        assert Vault(vault, source).epoch >= 1

    assert every > 20
    for stop in range(1, every + 1):
        kill(stop)
