"""A run's folder, or a vault, may be somebody else's: code that it names is not imported until the user names it too.

The code is a module that writes a file when it is imported, so that nothing needs to be believed.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedlm.api import evaluate, load_run
from fedlm.cli.main import _with_plugins_first, app
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.plugins import trust
from fedlm.preparation.add import add
from fedlm.vault.editor import VaultEditor
from fedlm.vault.keys import KeySource
from server.app import run_deployed
from server.run.settled import resumed_config
from server.store.run_folder import RunFolder
from server.store.warm_start import initial_weights
from server.unlearning import plan
from tests.support.unlearned import seal

CODE = """
from pathlib import Path
Path({flag!r}).write_text("ran")
from fedlm.algorithms.base import Algorithm
class Mine(Algorithm):
    pass
def build(*, vocab_size, seq_len):
    raise ValueError
"""
NAMES = {
    "model": "{m}:build",
    "model of a package": "{m}_package.inner:build",
    "strategy": "{m}.Mine",
    "mechanism": "{m}:Mine",
    "algorithm": "{m}:Mine",
    "aggregation": "{m}:Mine",
    "options": "{m}:build(units=8)",
    "a key that no version has": "{m}:Mine",
}


class Stranger:
    """A run's folder that names code, and the file that the code would write."""

    def __init__(self, folder: Path, what: str) -> None:
        self.module, self.flag = f"stranger_{abs(hash((str(folder), what)))}", folder / "ran"
        (folder / f"{self.module}.py").write_text(CODE.format(flag=str(self.flag)))
        package = folder / f"{self.module}_package"
        package.mkdir()
        (package / "__init__.py").write_text(CODE.format(flag=str(self.flag)))
        (package / "inner.py").write_text(CODE.format(flag=str(self.flag)))
        self.spec = NAMES[what].format(m=self.module)
        self.name = self.spec.partition("(")[0]
        key = {"model of a package": "model", "options": "model"}.get(what, what.partition(" ")[0])
        self.run = RunFolder.create(folder / "run", RunConfig()).path
        toml = (self.run / "config.toml").read_text()
        lines = [line for line in toml.splitlines() if not line.startswith(f"{key} = ")]
        (self.run / "config.toml").write_text("\n".join([*lines, f"{key} = {self.spec!r}"]))
        (self.run / "summary.json").write_text("{}")

    def has_run(self) -> bool:
        return self.flag.exists() or any(self.module in name for name in sys.modules)


@pytest.fixture(params=NAMES)
def stranger(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stranger]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(trust, "_NAMED", set())
    made = Stranger(tmp_path, request.param)
    yield made
    for name in [n for n in sys.modules if made.module in n]:
        del sys.modules[name]


def command(*words: object) -> object:
    done = CliRunner().invoke(app, list(map(str, words)), standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done


WAYS: dict[str, Callable[[Path], object]] = {
    "load_run": lambda run: load_run(run).config,
    "evaluate": lambda run: command("evaluate", run),
    "evaluate --corpus": lambda run: command("evaluate", run, "--corpus", "synthetic(clients=1, messages=2)"),
    "evaluate --pairs": lambda run: command("evaluate", run, "--pairs", "occupations"),
    "evaluate --associations": lambda run: command("evaluate", run, "--associations", "occupations"),
    "evaluate --names": lambda run: command("evaluate", run, "--names", "given"),
    "generate": lambda run: command("generate", run),
    "privacy": lambda run: command("privacy", run),
    "simulate --resume": lambda run: command("simulate", "synthetic(clients=2, messages=4)", "--out", run, "--resume"),
    "simulate --init": lambda run: command(
        "simulate", "synthetic(clients=2, messages=4)", "--out", run / "o", "--init", run
    ),
    "forget": lambda run: command("forget", "a", "--run", run, "--vault", run / "v.db"),
    "init, below the command line": lambda run: initial_weights(run, RunConfig()),
    "resume, of a deployment too": lambda run: resumed_config(run, ["rounds=9"]),
    "plan": lambda run: plan(run, run / "v.db", KeySource(run / "v.key"), "a"),
}


def test_no_command_imports_what_a_folder_names(stranger: Stranger) -> None:
    for way, do in WAYS.items():
        with pytest.raises(ConfigError, match=f"--plugin {stranger.name} ") as error:
            do(stranger.run)
        assert not stranger.has_run(), way
        assert str(stranger.run) in str(error.value)
    CliRunner().invoke(app, ["report", str(stranger.run)])  # it reads no configuration
    assert not stranger.has_run()


@pytest.mark.parametrize("how", ["--plugin", "plugins=", "--set", "--config", "a configuration in Python"])
def test_what_the_user_names_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(trust, "_NAMED", set())
    stranger = Stranger(tmp_path, "algorithm")
    setting = f"algorithm={stranger.name}"
    if how == "--plugin":
        command("--plugin", stranger.name, "config", "seed")
    elif how == "plugins=":
        load_run(stranger.run, plugins=[stranger.name])
    elif how == "--set":
        assert resumed_config(stranger.run, [setting]).algorithm == stranger.name
    elif how == "--config":
        (tmp_path / "mine.toml").write_text(f"algorithm = {stranger.name!r}")
        RunConfig.load(tmp_path / "mine.toml")
    else:
        RunFolder.create(tmp_path / "own", RunConfig(algorithm=stranger.name))
    assert load_run(stranger.run).config.algorithm == stranger.name
    assert stranger.has_run()


def test_another_name_does_not_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(trust, "_NAMED", set())
    stranger = Stranger(tmp_path, "algorithm")
    for name in (stranger.module, f"{stranger.module}:Other", f"{stranger.module}.Mine", ""):
        with pytest.raises(ConfigError, match="--plugin"):
            _ = load_run(stranger.run, plugins=[name]).config
    assert not stranger.has_run()


def test_a_plugin_may_be_named_anywhere_on_the_command_line() -> None:
    words = ["evaluate", "run", "--plugin", "a.b:C", "--json", "--plugin=d:E"]
    assert _with_plugins_first(words) == ["--plugin", "a.b:C", "--plugin=d:E", "evaluate", "run", "--json"]
    assert _with_plugins_first(["evaluate", "--plugin"]) == ["--plugin", "evaluate"]


def test_a_recogniser_that_a_folder_or_a_vault_names_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(trust, "_NAMED", set())
    stranger = Stranger(tmp_path, "algorithm")
    scrub = f"patterns(extra={stranger.module!r})"
    run = RunFolder.create(tmp_path / "scrubbed", RunConfig()).path
    toml = (run / "config.toml").read_text().replace('scrub = "full"', f'scrub = "{scrub}"')
    (run / "config.toml").write_text(toml)
    assert load_run(run).config.scrub == scrub  # training and generating scrub nothing
    with pytest.raises(ConfigError, match=f"--plugin {stranger.module} "):
        evaluate(run, "synthetic(clients=1, messages=2)")
    vault = seal(tmp_path / "sealed")
    source = KeySource(vault.with_name("v.db.key"))
    with VaultEditor(vault, source) as editor:
        editor.about["scrub"] = scrub
        editor.commit()
    with pytest.raises(ConfigError, match=f"--plugin {stranger.module} "):
        add("synthetic(clients=1, messages=2)", vault, source, lambda *_: None)
    assert not stranger.has_run()


def test_only_the_server_app_of_a_checked_run_trusts_the_folder() -> None:
    """`trust_plugins` skips the check, so each caller is known."""
    root = Path(__file__).parents[2]
    callers = {
        str(p.relative_to(root))
        for top in ("fedlm", "clients", "server", "scenarios")
        for p in (root / top).rglob("*.py")
        if "trust_plugins(" in p.read_text()
    }
    assert callers == {"server/app.py", "server/deploy/runs.py", "server/store/run_folder.py"}
    assert run_deployed.__module__ == "server.app"


def test_a_file_that_is_named_counts_for_what_it_defines_and_no_other_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(trust, "_NAMED", set())
    monkeypatch.setattr(trust, "_FILES", set())
    for name in ("own_file.py", "colorsys.py"):
        (tmp_path / name).write_text("class Mine: ...\n")
    trust.use_plugins(str(tmp_path / "own_file.py"))
    assert sys.path[-1] == str(tmp_path)  # last: nothing there takes another module's place
    trust.check_named({"own_file:Mine": "model", "own_file.Mine": "strategy"}, tmp_path)
    for other in ("colorsys:Mine", "own_file2:Mine", "x.own_file:Mine", "os.own_file"):
        with pytest.raises(ConfigError, match="--plugin"):
            trust.check_named({other: "model"}, tmp_path)
    with pytest.raises(ConfigError, match=r"The module 'colorsys' is .* and not "):
        trust.use_plugins(str(tmp_path / "colorsys.py"))
    with pytest.raises(ConfigError, match="There is no file"):
        trust.use_plugins(str(tmp_path / "none.py"))
