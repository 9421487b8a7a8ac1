"""What each key provider says to bad input: one sentence, no secret in it, nothing half-made."""

import json
import sys
from pathlib import Path

import pytest

from fedlm.errors import ConfigError, VaultError
from fedlm.vault import providers
from fedlm.vault.keyfile import create_key_file
from fedlm.vault.keys import KeySource
from fedlm.vault.operations import rotate
from fedlm.vault.providers import Passphrase, new_kdf
from fedlm.vault.reader import Vault
from tests.support.memory_keyring import Ring
from tests.support.running import fedlm
from tests.vault.test_change import content, corpus, texts
from tests.vault.test_providers import made

ID = b"v" * 16


@pytest.mark.parametrize("text", ["not json", "[]", "{}", '{"key": "00", "epoch": 1}', '{"key": 5}', '{"epoch": 1}'])
def test_key_ring_with_something_else_in_it(tmp_path: Path, ring: Ring, text: str) -> None:
    vault = made(tmp_path, KeySource(provider="keyring"))
    for name in list(ring.held):
        ring.held[name] = text
    with pytest.raises(VaultError, match="is not a key of fedlm") as caught:
        Vault(vault, KeySource(provider="keyring"))
    assert text not in str(caught.value)


def test_key_ring_that_is_locked_or_missing(tmp_path: Path, ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    source = KeySource(provider="keyring")
    vault = made(tmp_path, source)
    ring.locked = True
    other = tmp_path / "other"
    other.mkdir()
    for attempt in (lambda: Vault(vault, source), lambda: rotate(vault, source), lambda: made(other, source)):
        with pytest.raises(VaultError, match="unlock it") as caught:
            attempt()
        assert "secret" not in str(caught.value)
    assert not (other / "v.db").exists()
    ring.locked = False
    assert set(content(vault, source)) == {"a", "b", "c"}
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match=r"pip install 'fedlm\[keyring\]'"):
        Vault(vault, source)


@pytest.mark.parametrize("value", ["", "xyz", "11" * 31, "11" * 33, "zz" * 32])
def test_environment_key_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("VKEY", "11" * 32)
    source = KeySource(provider="env(VKEY)")
    vault = made(tmp_path, source)
    monkeypatch.setenv("VKEY", value)
    for attempt in (lambda: Vault(vault, source), lambda: rotate(vault, source)):
        with pytest.raises(ConfigError, match="variable VKEY does not hold a key: put 64 hex digits") as caught:
            attempt()
        assert not value or value not in str(caught.value)


def test_new_vaults_take_the_stated_scrypt_cost() -> None:
    assert new_kdf()[:3] == bytes([17, 8, 1]) and len(new_kdf()) == 19 and new_kdf() != new_kdf()


@pytest.mark.parametrize("cost", [(14, 8, 1), (21, 8, 1), (63, 8, 1), (17, 1, 1), (17, 255, 1), (17, 8, 0), (17, 8, 5)])
def test_scrypt_cost_is_checked_before_it_is_spent(monkeypatch: pytest.MonkeyPatch, cost: tuple[int, int, int]) -> None:
    monkeypatch.setenv("PASS", "correct horse")
    monkeypatch.setattr(providers, "Scrypt", lambda *_: pytest.fail("the cost was spent"))
    for kdf in (bytes(cost) + bytes(16), bytes([17, 8, 1]) + bytes(15), b""):
        with pytest.raises(VaultError, match="does not open"):
            Passphrase("PASS").keys(ID, kdf)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("tests.support.small_kms:nothing", "cannot be loaded"),
        ("no_such_module:service", "There is no module"),
        (":service", "cannot be loaded"),
        ("tests.support.small_kms:", "cannot be loaded"),
        ("tests.support.small_kms:NOT_CALLABLE", "callable without arguments"),
        ("tests.support.small_kms:half", "the methods create, keys"),
        ("tests.support.small_kms:short", "does not have 32 bytes"),
        ("keyring(servis='x')", "no key provider"),
        ("kms(", "not a name with options"),
        ("vault", "no key provider"),
        ("env()", "does not hold a key"),
    ],
)
def test_provider_that_is_none(tmp_path: Path, kms: str, ring: Ring, spec: str, sentence: str) -> None:
    done = fedlm("prepare", corpus(tmp_path / "c.jsonl", texts("a", "b")), "v.db", "--scrub", "none",
                 "--key-provider", spec, cwd=tmp_path)  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert sentence in done.stderr and not list(tmp_path.glob("v.db*"))


def test_a_provider_that_answers_nothing_has_the_one_sentence(tmp_path: Path, kms: str) -> None:
    vault = made(tmp_path, KeySource(provider=kms))
    (tmp_path / "kms.json").write_text("{}")
    with pytest.raises(VaultError, match="does not open"):
        Vault(vault, KeySource(provider=kms))


def test_no_key_named_and_no_key_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No key is named"):
        KeySource().open()
    vault = made(tmp_path, KeySource(tmp_path / "v.key"))
    for name, text in (("none", None), ("empty", ""), ("list", "[]"), ("no-epoch", '{"key": "' + "11" * 32 + '"}')):
        file = tmp_path / name
        if text is not None:
            file.touch(mode=0o600)
            file.write_text(json.dumps({"fedlm-key": 1, "vaults": {"00": json.loads(text)}}) if "{" in text else text)
        with pytest.raises(VaultError, match="is missing" if text is None else "is not a key file"):
            Vault(vault, KeySource(file))
    with pytest.raises(VaultError, match="cannot be opened: Is a directory"):
        Vault(vault, KeySource(tmp_path))
    with pytest.raises(ConfigError, match="never overwritten"):
        create_key_file(tmp_path / "v.key")
