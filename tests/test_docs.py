"""The pages name what exists: files, tests, commands, options, configuration keys; generated pages are not stale."""

import dataclasses
import importlib
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main

from clients.policy import Policy
from fedlm import Study, prepare
from fedlm.cli.main import app
from fedlm.config import RunConfig
from fedlm.measure.metric import ClientSums, RunEvidence
from fedlm.measure.registry import find_metric, known_metrics
from fedlm.models.catalog import model_names, model_options
from fedlm.types import TextMetrics
from scenarios.runner.catalog import build_study
from scenarios.runner.design import Design, Options
from server.deploy.limits import Limits
from server.engines.base import Engine
from server.engines.workers import WorkerCommand
from server.run.federation import Federation
from server.store.run_folder import RunFolder

ROOT = Path(__file__).parent.parent
GENERATED = ("api.md", "command-line.md", "configuration.md")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
WRITTEN = [p for p in PAGES if p.name not in (*GENERATED, "CHANGELOG.md")]  # a changelog also names what is gone
FOLDERS = ("fedlm", "clients", "server", "scenarios", "benchmarks", "tests", "docs")
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```[a-z]*\n(.*?)^```$", re.S | re.M)


def name_of(page: Path) -> str:
    """Returns a page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def spans(page: Path) -> list[str]:
    """Returns the code spans of a page's prose; one that is wrapped over two lines becomes one line."""
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    return CODE.findall(re.sub(r"`[^`]+`", lambda m: m[0].replace("\n", " "), prose))


def lines(page: Path) -> list[str]:
    """Returns the lines of a page's code blocks, continued lines joined."""
    blocks = FENCE.findall(page.read_text(encoding="utf-8"))
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


@cache
def commands() -> dict[str, frozenset[str]]:
    """Returns the options of each command and group by full name."""
    found = dict[str, frozenset[str]]()

    def enter(command: click.Command, name: str) -> None:
        found[name] = frozenset(o for p in command.params for o in [*p.opts, *p.secondary_opts]) | {"--help"}
        for child, inner in getattr(command, "commands", {}).items():
            enter(inner, f"{name} {child}")

    enter(typer.main.get_command(app), "fedlm")
    return found


def command_of(words: list[str]) -> str:
    """Returns the longest command that begins a command line."""
    return next(name for n in range(len(words), 0, -1) if (name := " ".join(words[:n])) in commands())


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_every_path_of_the_repository_exists(page: Path) -> None:
    own = re.compile(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w./*-]*")
    named = {path.rstrip(".") for span in [*spans(page), *lines(page)] for path in own.findall(span)}
    assert [path for path in named if not list(ROOT.glob(path.rstrip("/"))) and not path.endswith("/mine.py")] == []


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_every_test_exists(page: Path) -> None:
    named = {span for span in spans(page) if re.fullmatch(r"test_\w+", span)}
    source = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    fields = {field.name for field in dataclasses.fields(Design)}  # of a study: test_clients
    assert [name for name in named - fields if f"def {name}(" not in source] == []
    beside = re.findall(r"`(tests/[\w/]+\.py)`\s+\(`(test_\w+)`", page.read_text(encoding="utf-8"))
    assert [name for file, name in beside if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_every_module_that_is_run_or_imported_exists(page: Path) -> None:
    modules = re.findall(
        rf"(?:python -m|from|import) ((?:{'|'.join(FOLDERS)})(?:\.\w+)*)", "\n".join([*spans(page), *lines(page)])
    )
    files = {m: ROOT.joinpath(*m.split(".")) for m in modules}
    assert [m for m, f in files.items() if not f.is_dir() and not f.with_suffix(".py").is_file()] == []


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_every_command_and_option_exists(page: Path) -> None:
    wrong = []
    for line in [*lines(page), *spans(page)]:
        if not (found := re.search(r"(?:^|/bin/|exec \w+ )(fedlm .*)$", re.split(r"\s#", line)[0].strip())):
            continue
        words = re.sub(r"""(["']).*?\1""", "TEXT", found[1]).split()
        command = command_of(words)
        known = commands()[command] | commands()["fedlm"]
        unknown = [w for w in words if w.startswith("--") and w.partition("=")[0] not in known]
        is_group = any(name.startswith(f"{command} ") for name in commands())
        rest = words[len(command.split()) :]
        if unknown or (is_group and rest and not rest[0].startswith("-")):  # `fedlm privacy RUN` lacks `show`
            wrong.append(line)
    assert wrong == []


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_every_option_named_alone_is_one_of_some_command(page: Path) -> None:
    benchmarks = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "benchmarks").glob("*.py"))
    known = frozenset().union(*commands().values(), re.findall(r'"(--[a-z-]+)"', benchmarks))
    named = {m[1] for span in spans(page) if (m := re.match(r"(--[a-z-]+)\b", span))}
    assert named - known == set()


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_every_configuration_key_that_is_set_exists(page: Path) -> None:
    named = {key for span in [*lines(page), *spans(page)] for key in re.findall(r"""--set ["']?(\w+)=""", span)}
    named |= {m[1] for span in spans(page) if (m := re.fullmatch(r"([a-z]+_[a-z_]+)=[a-z0-9(].*", span))}
    options = {option for model in model_names() for option in model_options(model)}
    assert named - set(RunConfig.model_fields) - set(Policy.model_fields) - options == set()


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_every_key_of_a_table_of_keys_exists(page: Path) -> None:
    tables = re.findall(r"^\| key[^\n]*\n\|-.*?\n(.*?)(?:\n\n|\Z)", page.read_text(encoding="utf-8"), re.S | re.M)
    named = {key for table in tables for row in table.splitlines() for key in CODE.findall(row.split("|")[1])}
    options = {option for model in model_names() for option in model_options(model)}
    options |= {field.name for field in dataclasses.fields(Limits)}
    assert named - set(RunConfig.model_fields) - set(Policy.model_fields) - options == set()


def test_the_deployment_page_has_every_key_of_a_policy() -> None:
    page = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    assert [key for key in Policy.model_fields if f"| `{key}` |" not in page] == []


@pytest.mark.slow  # the grid of a private study asks the accountant
def test_tables_of_results_use_the_titles_and_conditions_of_the_studies() -> None:
    wrong, design, header = [], None, list[str]()
    for line in (ROOT / "docs/results.md").read_text(encoding="utf-8").splitlines():
        if named := re.search(r"`fedlm study (\w+)", line):
            design = build_study(named[1], Options())
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if cells[:1] == ["condition"]:
            assert design is not None
            header = cells
            # Also what a table of an earlier version has: a metric that another one replaces keeps its title until it goes.
            replaced = {m.title for m in known_metrics(design.metrics).values() if m.replaced_by}
            titles = replaced | {find_metric(name).title for name in design.table}
            wrong += [cell for cell in header if cell not in titles | {"condition", "algorithm"}]
        elif cells and header and not line.startswith("|--"):
            name = tuple(cells[: 2 if header[1] == "algorithm" else 1])
            wrong += [name] if all(case.name[: len(name)] != name for case in design.cases) else []
        elif not cells:
            header = []
    assert wrong == []


def test_python_of_the_pages_compiles() -> None:
    for page in WRITTEN:
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
            compile(block, name_of(page), "exec")


def test_the_generated_pages_are_not_stale() -> None:
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# --- the examples of docs/how-to/extend.md ----------------------------------------------------------------------------

PRIVATE: dict[str, object] = {
    "clip_norm": 1.0,
    "noise_multiplier": 1.0,
    "sampling_rate": 0.5,
    "weighting": "uniform",
    "max_client_tokens": 10**6,
}


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the module path with a file for each example of the page, under the name that the page gives it."""
    text = (ROOT / "docs/how-to/extend.md").read_text(encoding="utf-8")
    named = re.findall(r"`(?:\w+/)*(\w+\.py)`:\n\n```python\n(.*?)```", text, re.S)
    assert len(named) == text.count("```python") == 8
    for name, block in named:
        (tmp_path / name).write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_examples_of_the_extend_page_are_plugins(examples: Path) -> None:
    RunConfig.checked({"model": "my_model:build(width=32)", "algorithm": "my_algorithm:Agreement(floor=0.2)"})
    RunConfig.checked({"aggregation": "my_aggregation:Retry", "scrub": 'full(extra="my_recogniser")'})
    RunConfig.checked({**PRIVATE, "mechanism": "my_mechanism:Decaying(decay=0.9)"})
    study = Study.load(examples / "my_study.py", quick=True)
    assert len(study.cases) == 2 and [m.name for m in study.metrics] == ["largest_share"]
    recogniser = importlib.import_module("my_recogniser")
    for text, span in recogniser.HITS:
        (found,) = recogniser.build().analyze(text, ["NATIONAL_ID"])
        assert text[found.start : found.end] == span
    assert not any(recogniser.build().analyze(text, ["NATIONAL_ID"]) for text in recogniser.NEAR_MISSES)


def test_the_measure_of_the_extend_page_by_hand(examples: Path) -> None:
    figures = importlib.import_module("my_measure").figures
    clients = tuple(ClientSums(TextMetrics(loss_sum=loss, tokens=1, characters=1)) for loss in (1.0, 3.0))
    assert figures(RunEvidence(clients)) == pytest.approx({"largest_share": 3.0 / (1.0 + 3.0)})
    assert figures(RunEvidence()) == {}


@pytest.mark.slow
def test_the_examples_of_the_extend_page_train(examples: Path) -> None:
    vault = examples / "chat.db"
    prepare("synthetic(clients=6, messages=6)", vault, scrub='patterns(extra="my_recogniser")')
    engine = importlib.import_module("my_engine")

    def trained(out: str, **settings: object) -> list[dict[str, Any]]:
        small = {"rounds": 2, "cohort_size": 3, "model": "my_model:build(width=8)", "eval_every": 2}
        config = RunConfig.checked(small | settings)
        folder = RunFolder.create(examples / out, config)

        def body(connected: Engine) -> None:
            run = Federation(connected, config, folder, lambda line: None)
            run.start()
            run.run()

        engine.run(WorkerCommand(vault, vault.with_name("chat.db.key")), 1, body, print)
        return folder.metrics()

    lines = trained("open", algorithm="my_algorithm:Agreement", aggregation="my_aggregation:Retry")
    assert [line["cohort"] for line in lines] == [0, 3, 3] and [line["failed"] for line in lines] == [0, 0, 0]
    lines = trained("private", **PRIVATE, mechanism="my_mechanism:Decaying(decay=0.5)")
    assert [line["clip_norm"] for line in lines] == [1.0, 0.5, 0.25]  # the norm after each round
