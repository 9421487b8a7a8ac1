"""What Flower reads from pyproject.toml: the same configuration keys, and a bundle of code only."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from fedlm.config import RunConfig

ROOT = Path(__file__).parents[2]


def test_flower_has_the_same_keys_and_defaults() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    ours = {k.replace("_", "-"): v for k, v in RunConfig().model_dump().items()}
    assert {k: v for k, v in config.items() if k not in ("out", "resume")} == ours


@pytest.mark.flower
def test_bundle_holds_code_only(tmp_path: Path) -> None:
    app = tmp_path / "fedlm"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    files = {name: (ROOT / name).read_bytes() for name in listed}
    for name, content in {**files, "runs/metrics.jsonl": b"{}", "vault.db": b"x", "fedlm/secret.key": b"x"}.items():
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_bytes(content)
    subprocess.run(
        [str(Path(sys.executable).parent / "flwr"), "build"],
        cwd=app,
        check=True,
        capture_output=True,
        env={**os.environ, "FLWR_HOME": str(tmp_path)},
    )
    (bundle,) = app.glob("*.fab")
    with zipfile.ZipFile(bundle) as opened:
        names = set(opened.namelist())
    code = {n for n in listed if n.split("/")[0] in ("fedlm", "clients", "server", "scenarios")}
    code = {n for n in code if n.endswith(".py")}
    assert code <= names
    assert {Path(n).suffix for n in names} <= {".py", ".toml", ".md", ""}
    assert names - set(listed) == {".info/CONTENT"}  # Flower's own list; no run, vault or key that lies beside the code
