"""Imports go one way and in no circle; heavy packages stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOPS = ("fedlm", "clients", "server", "scenarios")
# From bottom to top. A module imports modules of its own layer and of those below it.
LAYERS = [
    {"fedlm", "fedlm.types", "fedlm.errors", "fedlm.rng", "fedlm.spec", "fedlm.plugins", "fedlm.schedules"},
    {"fedlm.system", "fedlm.text", "fedlm.data"},
    {
        "fedlm.scrub",
        "fedlm.vault",
        "fedlm.layers",
        "fedlm.models",
        "fedlm.measure",
        "fedlm.privacy",
        "fedlm.aggregation",
        "fedlm.algorithms",
        "fedlm.artifacts",
        "fedlm.config",
        "fedlm.config_keys",
        "fedlm.config_values",
        "fedlm.messages",
    },
    {"fedlm.training", "fedlm.preparation", "fedlm.report"},
    {"clients"},
    {"server"},
    {"scenarios"},
    {"fedlm.cli", "fedlm.api", "fedlm.__main__"},
]
FLWR = ("fedlm/messages/", "clients/", "server/", "fedlm/cli/")
TENSORFLOW = ("fedlm/layers/", "fedlm/models/", "fedlm/training/", "fedlm/algorithms/")
LOOSE = {"server": 8, "fedlm": 12, "tests": 12}
MODULES = [p for top in TOPS for p in sorted((ROOT / top).rglob("*.py"))]


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {module_name(f) for f in MODULES}


def imports(file: Path) -> set[str]:
    """Returns the modules that a file imports, those in functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                f"{node.module}.{a.name}" if f"{node.module}.{a.name}" in NAMES else node.module for a in node.names
            }
    return found


def layer(module: str) -> int | None:
    parts = module.split(".")
    for size in (2, 1):
        prefix = ".".join(parts[:size])
        for depth, names in enumerate(LAYERS):
            if prefix in names and (prefix != "fedlm" or module == "fedlm"):
                return depth
    return None


@pytest.mark.parametrize("file", MODULES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_go_downwards(file: Path) -> None:
    own = layer(module_name(file))
    assert own is not None, f"{file} has no layer"
    for name in imports(file):
        if name.split(".")[0] in TOPS:
            depth = layer(name)
            assert depth is not None and depth <= own, f"{file} imports {name}"


def test_no_module_imports_itself_through_others() -> None:
    graph = {module_name(f): {n for n in imports(f) if n in NAMES} for f in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for name in sorted(graph[module]):
                visit(name, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


@pytest.mark.parametrize(
    ("packages", "allowed"), [({"flwr"}, FLWR), ({"tensorflow", "keras", "keras_hub", "tensorflow_text"}, TENSORFLOW)]
)
def test_heavy_packages_stay_in_their_place(packages: set[str], allowed: tuple[str, ...]) -> None:
    for file in MODULES:
        relative = str(file.relative_to(ROOT))
        if not relative.startswith(allowed):
            assert not {n.split(".")[0] for n in imports(file)} & packages, relative


# A folder of plug-ins, and what marks a file of it as one.
PLUGINS = {
    "fedlm/models": "def build(",
    "fedlm/scrub/recognisers": "def build(",
    "fedlm/algorithms": "(Algorithm):",
    "fedlm/aggregation": "(Aggregation):|(Open):",
    "fedlm/privacy/mechanisms": "(Mechanism):|(Gaussian):",
    "fedlm/measure": "METRICS",
    "scenarios": "def study(",
    "server/engines": "def run(",
}


def plugin_names(folder: str) -> set[str]:
    marks = PLUGINS[folder].split("|")
    files = sorted((ROOT / folder).glob("*.py"))
    return {f.stem for f in files if any(mark in f.read_text() for mark in marks)} - {"registry", "metric"}


def compared(tree: ast.AST) -> list[tuple[int, str]]:
    """Returns the strings that a file compares something with: ==, in, match."""
    found: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            found += [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            found.append(node.value)
    found += [e for each in found if isinstance(each, ast.Tuple | ast.List | ast.Set) for e in each.elts]
    constants = [n for n in found if isinstance(n, ast.Constant)]
    return [(n.lineno, n.value) for n in constants if isinstance(n.value, str)]


@pytest.mark.parametrize("folder", PLUGINS)
def test_no_plugin_is_known_by_name_outside_its_folder(folder: str) -> None:
    names = plugin_names(folder)
    assert names, f"{folder} has no plug-ins: is the mark right?"
    known = []
    for file in MODULES:
        relative = str(file.relative_to(ROOT))
        if not relative.startswith(folder + "/"):
            hits = [(line, name) for line, name in compared(ast.parse(file.read_text())) if name in names]
            known += [f"{relative}:{line} {name}" for line, name in hits if (relative, name) not in OTHER_MEANING]
    assert known == []


# The same word with another meaning: a column of a corpus, no measure; a profile of the scrubber, no mechanism.
OTHER_MEANING = {
    ("fedlm/data/files.py", "text"),
    ("fedlm/scrub/files.py", "text"),
    ("fedlm/scrub/engine.py", "none"),
    ("fedlm/scrub/profile.py", "none"),
    ("scenarios/architectures.py", "centralised"),  # a case's place of training
}
REMOTE = ("fedlm/messages/", "fedlm/aggregation/", "clients/", "server/")


def test_remote_input_is_not_checked_with_assert() -> None:
    """`python -O` drops assertions, and what fails in one is no sentence."""
    found = []
    for file in MODULES:
        relative = str(file.relative_to(ROOT))
        if relative.startswith(REMOTE):
            found += [
                f"{relative}:{n.lineno}" for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Assert)
            ]
    assert found == []


def test_random_streams_are_begun_in_one_place() -> None:
    """Every seeded stream has its purpose in `fedlm.rng`; nothing draws from NumPy's or Python's global state."""
    found = []
    for file in MODULES:
        relative = str(file.relative_to(ROOT))
        for node in ast.walk(ast.parse(file.read_text())):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            own = relative == "fedlm/rng.py"
            if not own and (name.endswith("default_rng") or name.startswith(("np.random.", "random."))):
                found.append(f"{relative}:{node.lineno} {name}")  # type: ignore[attr-defined]
    assert found == []


def test_syntax_trees_are_built_one_at_a_time() -> None:
    """Two threads that build them at once can end in a SystemError under Python 3.11; NumPy's readers build them too."""
    for file in MODULES:
        text = file.read_text()
        if "np.load(" in text or "npy.read_array_header" in text:
            assert "SYNTAX_TREES" in text, f"{file}: hold fedlm.spec.SYNTAX_TREES"
        if file != ROOT / "fedlm" / "spec.py":
            calls = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)]
            assert not any(ast.unparse(c.func) == "ast.parse" for c in calls), f"{file}: use fedlm.spec.parsed_source"


def test_messages_are_laid_out_in_one_place() -> None:
    """No other folder reads or writes the fields of Flower's records."""
    for file in MODULES:
        relative, text = str(file.relative_to(ROOT)), file.read_text()
        if not relative.startswith("fedlm/messages/"):
            for name in ("config_records", "array_records", "metric_records"):
                assert name not in text, f"{relative} reads {name}"


@pytest.mark.parametrize("folder", LOOSE)
def test_few_files_lie_loose(folder: str) -> None:
    loose = sorted(p.name for p in (ROOT / folder).glob("*.py"))
    assert len(loose) <= LOOSE[folder], loose


def test_import_and_help_load_nothing_heavy() -> None:
    code = "import sys, fedlm, fedlm.cli.main; print(sorted({'tensorflow', 'ray', 'spacy', 'flwr'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
