"""Flower's simulation runtime on Ray: the same bits as the local engine, and nothing left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from fedlm.errors import FedLMError
from fedlm.system.processes import MARK, marked
from server.engines import ray_folder, ray_instance
from tests.support import deployments
from tests.support.running import fedlm, simulate

pytestmark = [pytest.mark.slow, pytest.mark.flower]
pytest.importorskip("ray")


def on_ray(corpus: str, out: str, cwd: Path, *more: object) -> subprocess.CompletedProcess[str]:
    words = ["simulate", corpus, *deployments.sets(), "--out", out, "--json", "--engine", "ray", *map(str, more)]
    return subprocess.run([sys.executable, "-m", "fedlm", *words], cwd=cwd, capture_output=True, text=True, timeout=300)


def test_ray_gives_the_bits_of_the_local_engine_and_of_the_deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = simulate(
        "local", tmp_path, "--workers", 1, settings=deployments.SMALL
    )  # what test_deployment.py compares with
    (entry,) = json.loads((tmp_path / "local" / "vault.db.key").read_text())["vaults"].values()
    monkeypatch.setenv("RAYS_KEY", entry["key"])  # the actors ask the key provider that was named
    ray = on_ray("local/vault.db", "ray", tmp_path, "--workers", 2, "--key-provider", "env(RAYS_KEY)")
    assert (ray.returncode, ray.stderr) == (0, "")
    second = json.loads(ray.stdout)
    assert first["weights_sha256"] == second["weights_sha256"]
    assert first["final"] == second["final"]
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in listed  # no actor of this run is left


def test_an_error_on_ray_is_one_sentence(tmp_path: Path) -> None:
    done = on_ray("shakespeare", "bad", tmp_path, "--set", "model=lstm(units=0)")
    assert (done.returncode, "units=0" in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert not (tmp_path / "bad").exists()
    none = fedlm("simulate", "shakespeare", "--out", "none", "--engine", "spark", cwd=tmp_path)
    assert (none.returncode, "local or ray" in none.stderr) == (2, True)


def ray_processes(run: subprocess.Popen[str], kind: str) -> list[int]:
    """Returns the processes that a command has started whose command line has a word."""
    found = []
    for process in descendants(run.pid) - {run.pid}:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
            found += [process] if kind in words[0].decode() else []
    return found


def folder_of(process: int) -> Path:
    """Returns the folder that a process of a Ray carries in its environment."""
    words = Path(f"/proc/{process}/environ").read_text().split("\0")
    return Path(next(w for w in words if w.startswith(f"{MARK}=")).partition("=")[2])


def descendants(process: int) -> set[int]:
    """Returns the processes that a process has started, and those that they have started."""
    listed = subprocess.run(["ps", "-eo", "ppid=,pid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found = {process}
    while more := {child for parent, child in pairs if parent in found} - found:
        found |= more
    return found


def in_a_round(out: Path, run: subprocess.Popen[str]) -> bool:
    assert run.poll() is None, run.communicate()
    return len(deployments.lines(out)) >= 3


@pytest.mark.parametrize(("kind", "name"), [("raylet/raylet", "raylet"), ("gcs/gcs_server", "GCS")])
def test_a_ray_that_dies_ends_the_command_with_a_sentence(tmp_path: Path, kind: str, name: str) -> None:
    settings = [*deployments.SMALL, "rounds=5000", "eval_every=1000"]
    words = ["simulate", "shakespeare", *deployments.sets(settings), "--out", "run", "--engine", "ray", "--json"]
    run = deployments.start(tmp_path, *words, "--workers", 1)
    try:
        deployments.wait_until(lambda: in_a_round(tmp_path / "run", run), 200)
        (victim,) = ray_processes(run, kind)
        place = folder_of(victim)
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        out, error = run.communicate(timeout=120)
    finally:
        run.kill()
    assert time.monotonic() - killed < 30
    assert (run.returncode, out, error.count("\n")) == (4, "", 1), (out, error)
    assert f"Ray's {name} was killed by signal 9" in error and "--resume" in error
    assert not place.exists() and not marked(place)
    assert not list(Path("/tmp/ray").glob(f"session_*_{run.pid}"))


def test_what_a_killed_command_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    settings = [*deployments.SMALL, "rounds=5000", "eval_every=1000"]
    words = ["simulate", "shakespeare", *deployments.sets(settings), "--out", "run", "--engine", "ray"]
    run = deployments.start(tmp_path, *words, "--workers", 1)
    try:
        deployments.wait_until(lambda: in_a_round(tmp_path / "run", run), 200)
        (raylet,) = ray_processes(run, "raylet/raylet")
        place = folder_of(raylet)
    finally:
        run.kill()
        run.communicate()
    assert list(place.glob("ray/session_*/logs"))  # nothing has tidied up
    settings = [*deployments.SMALL, "rounds=1", "eval_every=1"]
    done = fedlm(
        "simulate", "shakespeare", *deployments.sets(settings), "--out", "next", "--engine", "ray", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert not place.exists() and not marked(place)


def test_an_actor_that_dies_is_restarted_and_loses_no_client(tmp_path: Path) -> None:
    settings = [*deployments.SMALL, "rounds=40", "eval_every=40"]
    words = ["simulate", "shakespeare", *deployments.sets(settings), "--out", "run", "--engine", "ray", "--json"]
    run = deployments.start(tmp_path, *words, "--workers", 1)
    try:
        deployments.wait_until(lambda: in_a_round(tmp_path / "run", run), 200)
        (victim,) = ray_processes(run, "ray::ClientAppActor")
        os.kill(victim, signal.SIGKILL)
        summary = json.loads(deployments.finish(run, 300))
    finally:
        run.kill()
    assert summary["config"]["rounds"] == 40
    assert sum(line["failed"] for line in deployments.lines(tmp_path / "run")) == 0


@pytest.mark.parametrize("place", ["file", "missing"])
def test_a_ray_without_a_folder_for_its_files_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / place))
    monkeypatch.setattr(ray_folder, "SYSTEM_FOLDER", str(tmp_path / place))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    if place == "file":
        (tmp_path / place).write_text("")
    with pytest.raises(FedLMError, match=r"none can be written.*RAY_TMPDIR"), ray_instance.ray_instance():
        pass
