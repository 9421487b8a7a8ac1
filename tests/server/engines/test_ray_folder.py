"""Folders that killed processes have left: which are removed, and which are not."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedlm.system.processes import DEBUG, MARK, marked
from server.engines import ray_folder

# A process that starts a "Ray", a process with the folder's mark, and is killed.
KILLED = """
import os, signal, subprocess, sys
from server.engines.ray_instance import ray_instance
with ray_instance() as instance:
    instance.files.mkdir()
    (instance.files / "raylet.out").write_text("a log")
    subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=subprocess.DEVNULL)
    print(instance.files.parent, flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as short:  # as Ray's sockets need it
        monkeypatch.setenv("RAY_TMPDIR", short)
        monkeypatch.setattr(ray_folder, "SYSTEM_FOLDER", short)
        monkeypatch.setattr(tempfile, "tempdir", short)
        yield Path(short)


def begun() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert len(marked(folder)) == 1
    return process, folder


def killed() -> Path:
    process, folder = begun()
    process.communicate("\n", timeout=60)
    assert process.returncode == -9
    return folder


def test_what_a_killed_process_left_is_ended_and_removed(place: Path) -> None:
    folder = killed()
    assert (folder / "ray" / "raylet.out").exists() and len(marked(folder)) == 1
    with ray_folder.ray_folder() as new:
        assert not marked(folder)
        assert sorted(place.iterdir()) == [new]
    assert not list(place.iterdir())


def test_what_runs_is_left(place: Path) -> None:
    process, folder = begun()
    try:
        ray_folder.remove_left()
        assert (folder / "ray" / "raylet.out").exists() and len(marked(folder)) == 1
    finally:
        process.communicate("\n", timeout=60)
    ray_folder.remove_left()
    assert not list(place.iterdir())


def test_a_folder_for_debugging_is_kept_without_its_processes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEBUG, "1")
    folder = killed()
    with ray_folder.ray_folder() as own:
        pass
    monkeypatch.delenv(DEBUG)
    for _ in range(2):
        ray_folder.remove_left()
    assert (folder / "ray" / "raylet.out").read_text() == "a log" and not marked(folder)
    assert sorted(place.iterdir()) == sorted([folder, own])


def without_lock(folder: Path) -> None:
    (folder / "driver").unlink()


def linked_lock(folder: Path) -> None:
    (folder / "driver").rename(folder / "elsewhere")
    (folder / "driver").symlink_to(folder / "elsewhere")


def folder_as_lock(folder: Path) -> None:
    (folder / "driver").unlink()
    (folder / "driver").mkdir()


def linked(folder: Path) -> None:
    folder.rename(folder.with_name("real"))
    folder.symlink_to(folder.with_name("real"))


def other_name(folder: Path) -> None:
    folder.rename(folder.with_name("ray-mine"))


def of_another_user(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(folder, 12345, 12345)


@pytest.mark.parametrize("change", [without_lock, linked_lock, folder_as_lock, linked, other_name, of_another_user])
def test_a_folder_that_is_not_ours_is_left(place: Path, change: Callable[[Path], None]) -> None:
    with ray_folder.ray_folder() as folder:
        (folder / "kept").touch()
        (folder / "text").write_text("theirs")
    (folder / "kept").unlink()
    change(folder)
    environment = os.environ | {MARK: str(folder)}
    sleeper = subprocess.Popen(["sleep", "600"], env=environment)
    before = sorted(place.rglob("*"))
    try:
        ray_folder.remove_left()
        time.sleep(0.1)
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()
    assert sorted(place.rglob("*")) == before


def test_only_its_user_gets_at_what_ray_opens_to_all(place: Path) -> None:
    with ray_folder.ray_folder() as folder:
        assert folder.stat().st_mode & 0o077 == 0
        assert (folder / "driver").stat().st_mode & 0o077 == 0
