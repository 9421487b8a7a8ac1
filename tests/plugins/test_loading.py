"""Code of the user's own that is wrong: found when it is loaded, in one sentence with the plug-in, the file and the line."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedlm.config import RunConfig
from fedlm.errors import ConfigError, PluginError
from fedlm.models.registry import build_model
from fedlm.scrub.engine import Scrubber
from fedlm.vault.keys import KeySource
from server.run.strategies import build_strategy

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module that can be imported; returns its name, which no other module of the session has."""
    monkeypatch.syspath_prepend(tmp_path)
    before, made = set(sys.modules), list[str]()

    def written(source: str) -> str:
        made.append(f"own_{abs(hash(tmp_path))}_{len(made)}")
        (tmp_path / f"{made[-1]}.py").write_text(source, encoding="utf-8")
        return made[-1]

    yield written
    for name in set(sys.modules) - before:
        if name in made:
            del sys.modules[name]


def model(module: str) -> None:
    RunConfig(model=f"{module}:build")
    build_model(f"{module}:build", 9, 5)


def extra(module: str) -> None:
    Scrubber(f'patterns(extra="{module}")')


def strategy(module: str) -> None:
    build_strategy(f"{module}.Rule")


def named(key: str) -> Callable[[str], None]:
    return lambda module: RunConfig.checked({key: f"{module}:Rule"}) and None


EVERY = {
    "model": model,
    "recogniser": extra,
    "strategy": strategy,
    **{key: named(key) for key in ("algorithm", "aggregation", "mechanism")},
}


def refused(load: Callable[[str], None], module: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(module)
    assert "\n" not in str(caught.value) and module in str(caught.value)
    return caught.value


@pytest.mark.parametrize("what", EVERY)
def test_a_module_that_is_nowhere_is_told_from_one_that_imports_such_a_module(what: str, write: Write) -> None:
    assert str(refused(EVERY[what], "nowhere_at_all")).startswith(
        f"There is no module 'nowhere_at_all' for the {what} "
    )
    module = write("import nowhere_at_all\n\n\ndef build(*, vocab_size, seq_len): ...\n")
    found = refused(EVERY[what], module)
    assert f"cannot be loaded: ModuleNotFoundError at {module}.py:1: No module named 'nowhere_at_all'." in str(found)


@pytest.mark.parametrize("what", EVERY)
@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("\ndef build(*, vocab_size, seq_len):\n    return ((\n", "SyntaxError at {file}:3: '(' was never closed."),
        ("def build(*, vocab_size, seq_len): ...\nx = 1 / 0\n", "ZeroDivisionError at {file}:2: division by zero."),
        ("def build(*, vocab_size, seq_len): ...\nimport sys\nsys.exit(3)\n", "SystemExit at {file}:3: 3."),
        (
            "def build(*, vocab_size, seq_len): ...\ndef f(): raise RuntimeError('a\\nb.')\nf()\n",
            "RuntimeError at {file}:2: a b.",
        ),
    ],
)
def test_whatever_is_raised_at_import_is_told_with_its_line(what: str, source: str, says: str, write: Write) -> None:
    module = write(source)
    found = refused(EVERY[what], module)
    assert isinstance(found, PluginError) and found.__cause__ is not None  # which --debug shows
    assert str(found).endswith(f"cannot be loaded: {says.format(file=f'{module}.py')}")
    assert found.told == f"{str(found).partition('.py:')[0]}.py:{str(found).partition('.py:')[2][0]}."


ALGORITHM = "from fedlm.algorithms.base import Algorithm\nclass Rule(Algorithm):\n    "
OPEN = "from fedlm.aggregation.open import Open\nclass Rule(Open):\n    "
AGGREGATION = "from fedlm.aggregation.base import Aggregation\nclass Rule(Aggregation):\n    "
MECHANISM = "from fedlm.privacy.mechanisms.base import Mechanism\nclass Rule(Mechanism):\n    "
GAUSSIAN = "from fedlm.privacy.mechanisms.gaussian import Gaussian\nclass Rule(Gaussian):\n    "


@pytest.mark.parametrize(
    ("key", "source", "says"),
    [
        ("algorithm", "def Rule(): ...", "it is not a subclass of fedlm.algorithms.base.Algorithm"),
        ("algorithm", "rule = 1", "has no class Rule"),
        ("algorithm", f"{ALGORITHM}def step(self, plan): ...", "its step() must accept (plan, result, mean)"),
        ("algorithm", f"{ALGORITHM}step = 3", "its step must be a method"),
        ("algorithm", f"{ALGORITHM}def vectors(self, x): ...", "its vectors() must accept (no arguments)"),
        ("algorithm", f"{ALGORITHM}def __init__(self): ...", "its __init__() must accept (spec)"),
        ("algorithm", f"{ALGORITHM}def train(self, task): ...", "overrides train, so it must set is_plain = False"),
        ("algorithm", f"{ALGORITHM}sends = {{'a': len}}", "overrides sends, so it must set is_plain = False"),
        ("aggregation", f"{AGGREGATION}pass", "the class must define payload, check, open"),
        ("aggregation", f"{AGGREGATION}def open(self, plan, answers): ...", "the class must define payload, check"),
        ("aggregation", f"{OPEN}def complete(self, plan, answers): ...", "must accept (plan, answers, ask)"),
        ("mechanism", f"{MECHANISM}pass", "the class must define traits, contribute"),
        (
            "mechanism",
            f"from fedlm.privacy.settings import Traits\n{MECHANISM}traits = Traits(private=True)\n"
            "    def contribute(self, total, update, weight, source): return True",
            "the class must define event, release",
        ),
        ("mechanism", f"{GAUSSIAN}traits = 'good'", "its traits must be a Traits"),
        ("mechanism", f"{GAUSSIAN}def sample(self, key): ...", "must accept (key, server_round, clients, attempt)"),
    ],
)
def test_methods_that_cannot_be_called_are_found_before_the_first_round(
    key: str, source: str, says: str, write: Write
) -> None:
    module = write(source)
    found = str(refused(named(key), module))
    assert found.startswith(f"The {key} '{module}:Rule' cannot be used: ") and says in found


@pytest.mark.parametrize(
    "method",
    [
        "def complete(self, *anything): return []",
        "def complete(self, plan, answers, ask, more=0): return []",
        "@staticmethod\n    def complete(plan, answers, ask): return []",
        "@classmethod\n    def complete(cls, plan, answers, ask): return []",
        "complete = lambda self, p, a, q: []",
    ],
)
def test_every_way_to_write_a_method_that_can_be_called_is_accepted(method: str, write: Write) -> None:
    module = write(OPEN + method)
    assert RunConfig.checked({"aggregation": f"{module}:Rule"})


@pytest.mark.parametrize(
    ("key", "source"),
    [
        ("algorithm", f"{ALGORITHM}def __init__(self, spec): raise ValueError('beta is odd')"),
        ("aggregation", f"{OPEN}def __init__(self, options): raise ValueError('beta is odd')"),
    ],
)
def test_an_exception_of_a_constructor_names_the_plug_in_and_not_the_configuration(
    key: str, source: str, write: Write
) -> None:
    module = write(source)
    found = refused(named(key), module)
    assert str(found) == f"The {key} '{module}:Rule' cannot be built: ValueError at {module}.py:3: beta is odd."
    assert found.told == f"The {key} '{module}:Rule' cannot be built: ValueError at {module}.py:3."


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def other(): ...", "defines no function build"),
        ("def build(vocab_size, seq_len): ...", "build() at {file}:1 must take vocab_size and seq_len by keyword"),
        ("\ndef build(*, vocab_size): ...", "build() at {file}:2 must take"),
        ("def build(*, vocab_size, seq_len, units): ...", "needs a default for every further argument"),
        ("def build(*, vocab_size, seq_len, units=2 ** 4): ...", "the default of units at {file}:1 must be a literal"),
        ("PRESET = {'name': 'x'}\ndef build(*, vocab_size, seq_len): ...", "PRESET, MAY_BE_ZERO or POSITIONS is wrong"),
        ("POSITIONS = 5\ndef build(*, vocab_size, seq_len): ...", "PRESET, MAY_BE_ZERO or POSITIONS is wrong"),
        ("def build(*, vocab_size, seq_len):\n    return {}['a']", "cannot be built: KeyError at {file}:2: 'a'."),
        ("def build(*, vocab_size, seq_len): ...", "logits of shape (batch, 5, 9), not NoneType"),
    ],
)
def test_a_model_file_that_is_wrong_says_in_what(source: str, says: str, write: Write) -> None:
    module = write(source)
    assert says.format(file=f"{module}.py") in str(refused(model, module))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 1", "has no function build()"),
        ("build = 1", "cannot be called as build()"),
        ("def build(language): ...", "cannot be called as build()"),
        ("def build(): ...", "its build() returned a NoneType, not Presidio's EntityRecognizer"),
        ("def build(): return {}['a']", "cannot be built: KeyError at {file}:1: 'a'."),
    ],
)
def test_a_recogniser_that_is_wrong_says_in_what(source: str, says: str, write: Write) -> None:
    module = write(source)
    assert says.format(file=f"{module}.py") in str(refused(extra, module))


def test_a_key_provider_that_fails_quotes_no_key(write: Write) -> None:
    module = write("def service(): raise OSError('https://user:secret@kms')")
    with pytest.raises(Exception, match=rf"failed in service\(\): OSError at {module}.py:1\.") as caught:
        KeySource(provider=f"{module}:service").open()
    assert "secret" not in str(caught.value)
