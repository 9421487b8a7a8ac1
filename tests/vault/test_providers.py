"""Every key provider through a vault's whole life."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fedlm.errors import ConfigError, VaultError
from fedlm.preparation.add import add
from fedlm.preparation.vault import prepare
from fedlm.vault.format import DOES_NOT_OPEN
from fedlm.vault.keyfile import KeyFile, create_key_file
from fedlm.vault.keys import KeySource, StoredKeys
from fedlm.vault.operations import forget, rotate
from fedlm.vault.reader import Vault
from tests.support.memory_keyring import Ring
from tests.vault.test_change import RULES, content, corpus, texts


def made(folder: Path, source: KeySource) -> Path:
    prepare(corpus(folder / "c.jsonl", texts("a", "b", "c")), folder / "v.db", source, RULES, lambda *_: None)
    return folder / "v.db"


def lives(folder: Path, source: KeySource, next_key: Callable[[], None] = lambda: None) -> None:
    """Prepares, rotates, adds and forgets; after each step the vault holds what it should."""
    vault = made(folder, source)
    before = content(vault, source)
    next_key()
    told = rotate(vault, source)
    assert told["old_key"] != told["new_key"] and content(vault, source) == before
    add(corpus(folder / "more.jsonl", texts("d")), vault, source, lambda *_: None)
    next_key()
    forget(vault, source, "a")
    assert set(content(vault, source)) == {"b", "c", "d"}


def old_copies(folder: Path, source: KeySource) -> dict[str, str]:
    """Says by change what an old whole file says when it is put back after it; "" if it opens."""
    vault, said = made(folder, source), {}
    for change in ("add", "rotate"):
        old = vault.read_bytes()
        if change == "add":
            add(corpus(folder / "more.jsonl", texts("d")), vault, source, lambda *_: None)
        else:
            rotate(vault, source)
        new = vault.read_bytes()
        vault.write_bytes(old)
        try:
            Vault(vault, source).close()
            said[change] = ""
        except VaultError as error:
            said[change] = "older" if "older copy" in str(error) else "shut" if str(error) == DOES_NOT_OPEN else "?"
        vault.write_bytes(new)
        Vault(vault, source).close()
    return said


def test_key_ring(tmp_path: Path, ring: Ring) -> None:
    source = KeySource(provider="keyring(service='a place')")
    lives(tmp_path, source)
    ((service, vault_id), entry) = next(iter(ring.held.items()))
    assert (service, len(vault_id), set(json.loads(entry))) == ("a place", 32, {"key", "epoch"})
    assert json.loads(entry)["epoch"] == Vault(tmp_path / "v.db", source).epoch == 4
    with pytest.raises(VaultError, match="does not open"):
        Vault(tmp_path / "v.db", KeySource(provider="keyring"))  # another service holds no key


def test_key_ring_and_own_provider_notice_an_older_file(tmp_path: Path, ring: Ring, kms: str) -> None:
    for place, spec in enumerate(("keyring", kms)):
        (tmp_path / str(place)).mkdir()
        found = old_copies(tmp_path / str(place), KeySource(provider=spec))
        assert found == {"add": "older", "rotate": "shut"}, spec


@pytest.mark.usefixtures("low_cost")
def test_passphrase_and_environment_cannot_notice_an_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit that docs/vault-format.md states, so that it is seen when it changes."""
    monkeypatch.setenv("PASS", "correct horse")
    monkeypatch.setenv("VKEY", "11" * 32)
    monkeypatch.setenv("VKEY_NEXT", "22" * 32)
    for name, source in (("p", KeySource(passphrase_env="PASS")), ("e", KeySource(provider="env(VKEY)"))):
        (tmp_path / name).mkdir()
        assert old_copies(tmp_path / name, source) == {"add": "", "rotate": ""}
    monkeypatch.setenv("VKEY", "22" * 32)
    monkeypatch.delenv("VKEY_NEXT")
    Vault(tmp_path / "e" / "v.db", KeySource(provider="env(VKEY)")).close()


def test_environment_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VKEY", "00" * 32)
    following = ["00" * 32]

    def move_on() -> None:
        """What the owner does: the next key takes its place, and a new one becomes the next."""
        monkeypatch.setenv("VKEY", following[-1])
        following.append(f"{len(following):02x}" * 32)
        monkeypatch.setenv("VKEY_NEXT", following[-1])

    lives(tmp_path, KeySource(provider="env(VKEY)"), move_on)
    with pytest.raises(ConfigError, match="has already"):  # else a second deletion would leave the key of the first
        forget(tmp_path / "v.db", KeySource(provider="env(VKEY)"), "b")
    assert set(content(tmp_path / "v.db", KeySource(provider="env(VKEY)"))) == {"b", "c", "d"}
    monkeypatch.setenv("VKEY", following[-1])
    with pytest.raises(ConfigError, match="holds the old key"):
        rotate(tmp_path / "v.db", KeySource(provider="env(VKEY)"))


@pytest.mark.usefixtures("low_cost")
def test_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASS", "corr\udcffect horse")  # bytes that are no UTF-8
    source = KeySource(passphrase_env="PASS")
    lives(tmp_path, source)
    monkeypatch.setenv("PASS", "")
    for attempt in (lambda: Vault(tmp_path / "v.db", source), lambda: made(tmp_path / "new", source)):
        (tmp_path / "new").mkdir(exist_ok=True)
        with pytest.raises(ConfigError, match="variable PASS is empty"):
            attempt()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["c.jsonl"]


def test_own_provider(tmp_path: Path, kms: str) -> None:
    lives(tmp_path, KeySource(provider=kms))
    (entry,) = json.loads((tmp_path / "kms.json").read_text()).values()
    assert len(entry["keys"]) == 1 and entry["epoch"] == 4


SAVES = """
import sys
from pathlib import Path
from fedlm.vault.keyfile import KeyFile, StoredKeys
keys, vault = StoredKeys(KeyFile(Path(sys.argv[1]))), sys.argv[2].encode() * 16
keys.create(vault, b"")
for epoch in range(25):
    keys.settle(vault, keys.propose(vault, b""), epoch)
print(keys.keys(vault, b"")[0].hex())
"""


def test_vaults_that_share_a_key_file_and_change_at_once_lose_no_key(tmp_path: Path) -> None:
    create_key_file(tmp_path / "k")
    words = [sys.executable, "-c", SAVES, str(tmp_path / "k")]
    started = [subprocess.Popen([*words, name], stdout=subprocess.PIPE, text=True) for name in "abcd"]
    told = [process.communicate(timeout=60)[0].strip() for process in started]
    kept = StoredKeys(KeyFile(tmp_path / "k"))
    assert [kept.keys(name.encode() * 16, b"")[0].hex() for name in "abcd"] == told
    assert [kept.epoch(name.encode() * 16) for name in "abcd"] == [24] * 4


@pytest.mark.slow
@pytest.mark.flower
def test_a_run_on_a_vault_whose_key_a_provider_keeps(tmp_path: Path, kms: str) -> None:
    """The worker is a process of its own and asks the provider itself."""
    vault = made(tmp_path, KeySource(provider=kms))
    sets = ["rounds=1", "cohort_size=1", "model=lstm(units=8, layers=1)", "seq_len=12", "workers=1"]
    words = [w for s in sets for w in ("--set", s)]
    command = [sys.executable, "-m", "fedlm", "simulate", str(vault), *words, "--json", "--key-provider", kms]
    done = subprocess.run([*command, "--out", "run"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
