"""The README's script runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.slow
@pytest.mark.flower
def test_python_example(tmp_path: Path) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    assert len(script.splitlines()) <= 12
    said = [_run(script, tmp_path) for _ in range(2)]  # it can be run again
    assert said[0] == said[1] and "bits_per_char" in said[0][0] and "..." not in "".join(said[0])
    assert re.fullmatch(r"[0-9a-f]{64}", said[0][-1])


def _run(script: str, folder: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_links_lead_to_files_of_the_repository() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README.read_text())
    assert links
    assert [link for link in links if not (README.parent / link).is_file()] == []
