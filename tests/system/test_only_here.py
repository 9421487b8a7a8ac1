"""What the operating system needs is in `fedlm/system/` and nowhere else: atomic writes, locks, child processes."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [
    file
    for top in ("fedlm", "clients", "server", "scenarios")
    for file in sorted((ROOT / top).rglob("*.py"))
    if ROOT / "fedlm" / "system" not in file.parents
]
MODULES = {"fcntl", "filelock", "multiprocessing", "subprocess", "tempfile.NamedTemporaryFile"}
OF_OS = {"fork", "fsync", "fdatasync", "link", "lockf", "rename", "renames", "replace", "O_EXCL"}
METHODS = {"rename", "replace"}  # of a path: one argument; those of a text have two


def offences(tree: ast.AST) -> Iterator[str]:
    """Yields what a module does itself that only `fedlm/system/` may do, with its line."""
    for node in ast.walk(tree):
        found = ""
        if isinstance(node, ast.Import):
            found = next((a.name for a in node.names if a.name in MODULES), "")
        elif isinstance(node, ast.ImportFrom):
            names = {node.module or "", *(f"{node.module}.{a.name}" for a in node.names)}
            found = next(iter(names & (MODULES | {f"os.{name}" for name in OF_OS})), "")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found = f"os.{node.attr}" if node.value.id == "os" and node.attr in OF_OS else ""
            found = found or ("Popen" if node.attr == "Popen" else "")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            found = f".{node.func.attr}(one argument)" if len(node.args) == 1 and not node.keywords else ""
        if found:
            yield f"line {getattr(node, 'lineno', 0)}: {found}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_only_system_replaces_files_locks_and_starts_processes(file: Path) -> None:
    assert list(offences(ast.parse(file.read_text()))) == [], "use fedlm/system/"


@pytest.mark.parametrize(
    "code",
    [
        "import fcntl",
        "import subprocess",
        "from subprocess import Popen",
        "from os import fsync",
        "import os\nos.replace(a, b)",
        "import os\nos.open(p, os.O_WRONLY | os.O_EXCL)",
        "beside.replace(path)",
        "beside.rename(path)",
        "subprocess.Popen(words)",
    ],
)
def test_the_test_sees_what_it_looks_for(code: str) -> None:
    assert list(offences(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["text.replace('a', 'b')", "'os.replace(a, b)'", "os.path.join(a)", "replace(plan, x=1)"]
)
def test_the_test_leaves_texts_and_values_alone(code: str) -> None:
    assert not list(offences(ast.parse(code)))
