"""Code of the user's own that a worker does not load is told before anything is sealed, written or trained."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clients.probe import check_in_worker
from fedlm.config import RunConfig
from fedlm.errors import ConfigError, VaultError
from fedlm.plugins.places import check_places, places_of
from fedlm.scrub import processes
from tests.support.running import fedlm

pytestmark = pytest.mark.flower

ONLY_HERE = "import sys\nif 'pytest' not in sys.modules:\n    raise ImportError('not in a worker')\n"
KINDS = {
    "model": "def build(*, vocab_size, seq_len): ...\n",
    "algorithm": "from fedlm.algorithms.base import Algorithm\nclass Rule(Algorithm): ...\n",
    "aggregation": "from fedlm.aggregation.open import Open\nclass Rule(Open): ...\n",
}
SMALL = ["rounds=1", "cohort_size=2", "scrub=patterns"]
SETS = [word for setting in SMALL for word in ("--set", setting)]
CORPUS = "synthetic(clients=4, messages=6)"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], str]]:
    """Writes a module that this process finds, first of all; removes it again."""
    folder, before = tmp_path / "own", dict(sys.modules)
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def written(name: str, source: str) -> str:
        sys.modules.pop(name, None)
        (folder / f"{name}.py").write_text(source)
        return name

    yield written
    for file in folder.glob("*.py"):
        sys.modules.pop(file.stem, None)
        if file.stem in before:
            sys.modules[file.stem] = before[file.stem]


def made(folder: Path) -> list[str]:
    """Returns what a refused command has left: folders of runs, vaults, keys."""
    return sorted(p.name for p in folder.iterdir() if p.name not in ("own", "c.jsonl"))


@pytest.mark.parametrize("key", KINDS)
def test_code_that_only_the_command_loads_is_one_sentence_and_leaves_nothing(
    key: str, own: Callable[[str, str], str], tmp_path: Path
) -> None:
    module = own(f"own_{key}", ONLY_HERE + KINDS[key])
    name = f"{module}:{'build' if key == 'model' else 'Rule'}"
    done = fedlm("simulate", CORPUS, *SETS, "--set", f"{key}={name}", "--out", "run", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert f"A worker process cannot load what the configuration names: The {key} '{name}" in done.stderr
    assert "ImportError at" in done.stderr and "not in a worker" in done.stderr
    assert made(tmp_path) == []


def test_a_study_is_refused_before_its_folder_is_made(own: Callable[[str, str], str], tmp_path: Path) -> None:
    module = own("own_in_study", ONLY_HERE + KINDS["algorithm"])
    study = (
        "from scenarios.runner.study import Case, Options, Study\nQUESTION = 'Why?'\n"
        "def study(options: Options) -> Study:\n"
        "    cases = (Case('a', {'algorithm': '" + module + ":Rule'}), Case('b'))\n"
        "    return Study(name='my_study', question=QUESTION, corpus=" + repr(CORPUS) + ", cases=cases, control='a', "
        "table=('bits_per_char',), settings={}, figures=())\n"
    )
    (tmp_path / "own" / "my_study.py").write_text(study)
    done = fedlm("study", "own/my_study.py", "--out", "s", "--seeds", 1, cwd=tmp_path)
    assert done.returncode == 2 and "A worker process cannot load" in done.stderr, done.stderr
    assert made(tmp_path) == []


def test_a_key_provider_is_asked_of_a_worker_too(own: Callable[[str, str], str]) -> None:
    module = own("own_provider", ONLY_HERE + "def keys(): ...\n")
    with pytest.raises(ConfigError, match="key provider 'own_provider:keys' cannot be loaded: ImportError"):
        check_in_worker(RunConfig(), f"{module}:keys")


def test_a_recogniser_that_only_the_command_loads_leaves_no_vault_and_no_key(
    own: Callable[[str, str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = "from presidio_analyzer import PatternRecognizer\ndef build():\n"
    build += "    return PatternRecognizer(supported_entity='EMAIL', deny_list=['qq'])\n"
    module = own("own_recogniser", ONLY_HERE + build)
    monkeypatch.setattr(processes, "worth", lambda characters: 1)  # as of a large corpus on two processors
    lines = [json.dumps({"user": f"u{n % 3}", "text": f"hello {n}"}) for n in range(12)]
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    done = fedlm("prepare", "c.jsonl", "v.db", "--scrub", f'patterns(extra="{module}")', cwd=tmp_path)
    assert done.returncode == 2 and "A process that scrubs did not start: The recogniser" in done.stderr, done.stderr
    assert "not in a worker" in done.stderr and made(tmp_path) == []


def test_a_name_that_is_another_file_in_a_worker_is_told(own: Callable[[str, str], str]) -> None:
    own("colorsys", KINDS["algorithm"])  # the standard library's comes first in a worker
    with pytest.raises(ConfigError, match=r"The module 'colorsys' is .*colorsys.py, and not .*own.colorsys.py"):
        check_in_worker(RunConfig(algorithm="colorsys:Rule"))
    places = places_of(["colorsys:Rule"])
    check_places(places)
    assert places["colorsys"].endswith("own/colorsys.py")
    check_places(places_of(["nowhere.at_all:Rule"]))  # which those who load it tell


def test_nothing_outside_fedlm_costs_nothing_and_what_loads_is_asked_once(
    own: Callable[[str, str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    module = own("own_good", f"with open({str(log)!r}, 'a') as f:\n    f.write('x')\n{KINDS['algorithm']}")
    for seed in range(3):
        check_in_worker(RunConfig(algorithm=f"{module}:Rule", seed=seed))
    assert log.read_text() == "xx"  # here, and in one worker
    monkeypatch.setattr(sys, "executable", "/no/python")
    check_in_worker(RunConfig())
    check_in_worker(RunConfig(strategy="FedAdam"), "env(KEY)")


def test_a_provider_that_fails_keeps_its_kind_of_error(own: Callable[[str, str], str]) -> None:
    module = own("own_lost", "from fedlm.errors import VaultError\ndef keys(): raise VaultError('The KMS is away.')\n")
    with pytest.raises(VaultError, match="The KMS is away"):
        check_in_worker(RunConfig(), f"{module}:keys")
