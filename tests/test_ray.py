"""Flower's simulation runtime on Ray: the same bits as the local engine, and nothing left behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.flower]
pytest.importorskip("ray")
SMALL = ["scrub=patterns", "max_clients=6", "rounds=2", "cohort_size=3", "eval_every=1", "model=lstm(units=8)"]


def simulate(out: str, cwd: Path, *more: object) -> subprocess.CompletedProcess[str]:
    sets = [w for s in SMALL for w in ("--set", s)]
    words = [sys.executable, "-m", "fedlm", "simulate", "shakespeare", *sets, "--out", out, "--json", *map(str, more)]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=300)


def test_ray_gives_the_bits_of_the_local_engine(tmp_path: Path) -> None:
    local = simulate("local", tmp_path, "--workers", 1)
    ray = simulate("ray", tmp_path, "--workers", 2, "--engine", "ray")
    assert (ray.returncode, ray.stderr) == (0, "")
    first, second = json.loads(local.stdout), json.loads(ray.stdout)
    assert first["weights_sha256"] == second["weights_sha256"]
    assert first["final"] == second["final"]
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in listed  # no actor of this run is left


def test_an_error_on_ray_is_one_sentence(tmp_path: Path) -> None:
    done = simulate("bad", tmp_path, "--engine", "ray", "--set", "model=lstm(units=0)")
    assert (done.returncode, "units=0" in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert not (tmp_path / "bad").exists()
    none = simulate("none", tmp_path, "--engine", "spark")
    assert (none.returncode, "local or ray" in none.stderr) == (2, True)
