"""Flower's simulation runtime on Ray: the same bits as the local engine, and nothing left behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
