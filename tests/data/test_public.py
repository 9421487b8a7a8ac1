"""What counts as public text is settled by what was opened, not by what a file happens to be called."""

import json
from pathlib import Path

import pytest

from fedlm.config import RunConfig
from fedlm.data.corpus import is_of_public_text, is_public
from fedlm.preparation.add import add
from fedlm.preparation.vault import prepare
from fedlm.report.run import _context
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault
from tests.support.running import simulate

RULES = RunConfig.checked({"scrub": "none"})
BUILT_IN = "synthetic(clients=3, messages=4)"


def sealed(folder: Path, corpus: str, name: str = "v.db") -> tuple[Path, KeySource]:
    vault, source = folder / name, KeySource(folder / f"{name}.key")
    prepare(corpus, vault, source, RULES, lambda *_: None)
    return vault, source


def public(vault: Path, source: KeySource) -> bool:
    opened = Vault(vault, source)
    opened.close()
    return is_of_public_text(opened.about)


@pytest.fixture(params=["shakespeare", "synthetic", "sotu(1)", "mix(1).jsonl", "synthetic(2).jsonl"])
def private(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A corpus of somebody's own with a name like a built-in one."""
    monkeypatch.chdir(tmp_path)
    path = Path(request.param)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"user": u, "text": "mine"}) + "\n" for u in "aabb"))
    else:
        path.mkdir()
        for user in "ab":
            (path / f"{user}.txt").write_text("mine\n\nmine too")
    return f"./{path}"


def test_a_file_or_folder_named_like_a_built_in_corpus_is_private(tmp_path: Path, private: str) -> None:
    assert not public(*sealed(tmp_path, private))
    if private == "./sotu(1)":  # opened as a folder without the dot too
        assert not is_public("sotu(1)")


def test_private_text_in_a_public_vault_makes_it_private(tmp_path: Path, private: str) -> None:
    vault, source = sealed(tmp_path, BUILT_IN, "built-in.db")
    assert public(vault, source)
    add("synthetic(clients=2, messages=3, seed=4)", vault, source, lambda *_: None)
    assert public(vault, source)
    add(private, vault, source, lambda *_: None)
    assert not public(vault, source)


def test_vaults_of_before_go_by_the_name_of_what_they_were_made_of() -> None:
    assert is_of_public_text({"corpus": "shakespeare"}) and is_of_public_text({"corpus": "synthetic(clients=4)"})
    assert not is_of_public_text({"corpus": "mine.jsonl"}) and not is_of_public_text({"corpus": "mix(1).jsonl"})
    assert not is_of_public_text({"corpus": "shakespeare", "additions": 1})
    assert not is_of_public_text({"corpus": "shakespeare", "public": False})


@pytest.mark.parametrize(("public", "shown"), [(True, "a sample"), (False, "")])
def test_a_report_shows_samples_of_public_text_only(tmp_path: Path, public: bool, shown: str) -> None:
    about = {"corpus": "synthetic", "public": public, "clients": 2}
    (tmp_path / "summary.json").write_text(json.dumps({"corpus": about}))
    (tmp_path / "metrics.jsonl").write_text("")
    (tmp_path / "sample.txt").write_text("a sample")
    assert _context(tmp_path, samples=False)["sample"] == shown
    assert _context(tmp_path, samples=True)["sample"] == "a sample"


@pytest.mark.slow
@pytest.mark.flower
def test_a_run_on_a_folder_named_like_a_built_in_corpus_is_repeated_with_its_vault(tmp_path: Path) -> None:
    (tmp_path / "synthetic").mkdir()
    for user in "abcd":
        (tmp_path / "synthetic" / f"{user}.txt").write_text("mine\n\nmine too\n\nand that\n\nand this")
    settings = ["scrub=none", "rounds=1", "cohort_size=2", "model=lstm(units=8, layers=1)", "seq_len=12", "workers=1"]
    simulate("run", tmp_path, corpus="./synthetic", settings=settings)
    report = (tmp_path / "run" / "report.html").read_text()
    assert "fedlm simulate vault.db --config" in report and "Sample of the model" not in report
