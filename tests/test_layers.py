"""Imports go one way; heavy packages stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = [
    {"fedlm.types", "fedlm.errors", "fedlm.spec", "fedlm.quiet", "fedlm.parent", "fedlm"},
    {"fedlm.data", "fedlm.scrub", "fedlm.vault", "fedlm.models", "fedlm.sums", "fedlm.privacy", "fedlm.schedules"},
    {
        "fedlm.train",
        "fedlm.chunk",
        "fedlm.batching",
        "fedlm.evaluate",
        "fedlm.measure",
        "fedlm.config",
        "fedlm.pins",
        "fedlm.prepare",
        "fedlm.add",
        "fedlm.progress",
        "fedlm.generate",
    },
    {"fedlm.records"},
    {"fedlm.wire", "fedlm.report"},
    {"clients", "server"},
    {"scenarios"},
    {"fedlm.commands", "fedlm.cli", "fedlm.__main__"},
]
FLWR = ("fedlm/wire.py", "fedlm/records.py", "clients/", "server/", "fedlm/cli.py")
TENSORFLOW = (
    "fedlm/models/",
    "fedlm/train.py",
    "fedlm/chunk.py",
    "fedlm/batching.py",
    "fedlm/evaluate.py",
    "clients/worker.py",
)
MODULES = [p for top in ("fedlm", "clients", "server", "scenarios") for p in sorted((ROOT / top).rglob("*.py"))]


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{a.name}" for a in node.names} | {node.module}
    return found


def layer(module: str) -> int | None:
    parts = module.split(".")
    for size in (2, 1):
        prefix = ".".join(parts[:size])
        for depth, names in enumerate(LAYERS):
            if prefix in names:
                return depth
    return None


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("file", MODULES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_go_downwards(file: Path) -> None:
    own = layer(module_name(file))
    assert own is not None, f"{file} has no layer"
    for name in imports(file):
        if name.split(".")[0] in ("fedlm", "clients", "server", "scenarios") and name != "fedlm":
            depth = layer(name)
            assert depth is not None and depth <= own, f"{file} imports {name}"


@pytest.mark.parametrize(
    ("packages", "allowed"), [({"flwr"}, FLWR), ({"tensorflow", "keras", "keras_hub", "tensorflow_text"}, TENSORFLOW)]
)
def test_heavy_packages_stay_in_their_place(packages: set[str], allowed: tuple[str, ...]) -> None:
    for file in MODULES:
        relative = str(file.relative_to(ROOT))
        if not relative.startswith(allowed):
            assert not {n.split(".")[0] for n in imports(file)} & packages, relative


def test_import_and_help_load_nothing_heavy() -> None:
    code = "import sys, fedlm, fedlm.cli; print(sorted({'tensorflow', 'ray', 'spacy', 'flwr'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
