"""The fuzzer's targets without the fuzzer: its kept corpus, and inputs of Hypothesis."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import targets

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())


@pytest.fixture(scope="module", autouse=True)
def workplace() -> Iterator[None]:
    with targets.workplace():
        folder = Path(os.environ[targets.FOLDER])
        yield
    assert not folder.exists()


def test_kept_corpus_finds_nothing() -> None:
    assert len(CORPUS) > 20
    for file in CORPUS:
        targets.run(file.read_bytes())


def test_seeds_of_the_corpus_find_nothing() -> None:
    for data in targets.seeds().values():
        targets.run(data)


def test_every_format_is_damaged() -> None:
    for version in targets.FORMATS:
        vault = targets.bench(version)
        assert vault_format(vault.put(vault.whole)) == version
        assert len(vault.content) == 3  # two clients
    newest = targets.bench(targets.FORMAT)
    assert newest.content[0] == ("", {"group": "0.5"}, [])  # a name of a label is sealed, too
    texts = [parts for _, _, parts in targets.bench(targets.FORMAT).content[1:]]
    assert all(validation for _, validation, _ in texts)  # text that only this format has


def vault_format(file: Path) -> int:
    with contextlib.closing(sqlite3.connect(file)) as db:
        return int(db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()[0])


CHOICES = [(t, v) for t in range(len(targets.TARGETS)) for v in targets.FORMATS]
NAMES = [f"{targets.TARGETS[t].__name__}-{v}" for t, v in CHOICES]


@pytest.mark.parametrize(("target", "version"), CHOICES, ids=NAMES)
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_no_input_finds_anything(target: int, version: int, data: st.DataObject) -> None:
    first = targets.chosen(target, version)
    known = [s[1:] for s in targets.seeds().values() if s[:1] in (first, targets.chosen(target, 1))]
    seed = data.draw(st.sampled_from(known))
    kept = data.draw(st.integers(0, len(seed)))
    targets.run(first + seed[:kept] + data.draw(st.binary(max_size=200)))


LIKE_ATHERIS = """
import contextlib, os
instrument_imports = lambda include: contextlib.nullcontext()
def Setup(words, run):
    global target
    target = run
def Fuzz():
    target(bytes([3, 1, 2, 3]))
    print(os.environ["FEDLM_FUZZ_FOLDER"], len(os.listdir(os.environ["FEDLM_FUZZ_FOLDER"])), flush=True)
    os._exit(77)
"""


def test_a_fuzzer_that_ends_at_a_finding_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "atheris.py").write_text(LIKE_ATHERIS)  # the package ends its process as abruptly
    root = Path(__file__).parents[2]
    environment = {k: v for k, v in os.environ.items() if k != targets.FOLDER}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(root)])
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.vault", tmp_path / "new"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    folder, vaults = done.stdout.split()
    assert (done.returncode, vaults, Path(folder).exists()) == (77, "3", False), done.stderr


def test_targets_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that lets a forged row through, or raises something of its own, is a finding."""
    with monkeypatch.context() as patch:
        patch.setattr(targets, "unseal", lambda *_: b"")
        with pytest.raises(AssertionError, match="nobody sealed"):
            targets.run(b"\0food")
    with monkeypatch.context() as patch:
        patch.setattr(targets, "unpack_documents", lambda plain: [plain.decode()])
        with pytest.raises(UnicodeDecodeError):
            targets.run(b"\1\xff")
