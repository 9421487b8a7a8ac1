import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from fedlm.errors import VaultError
from fedlm.scrub.engine import ScrubbedText, Scrubber
from fedlm.vault.format import Part, Place, pack_documents, seal, unpack_documents, unseal
from fedlm.vault.keys import KeySource, create_key_file
from fedlm.vault.reader import ClientShard, Vault, VaultWriter

PLACE = Place(b"v" * 16, Part.TRAIN, b"r" * 16)
SCRUBBER = Scrubber("none")


def shard(name: str, *texts: str) -> ClientShard:
    scrubbed = [SCRUBBER.scrub(t) for t in texts]
    return ClientShard(name, scrubbed[:-1], scrubbed[-1:], 10, 3, {"group": "g"})


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, KeySource]:
    source = KeySource(tmp_path / "k")
    create_key_file(tmp_path / "k")
    writer = VaultWriter(tmp_path / "v.db", source, b"p" * 32)
    for i in range(3):
        writer.add(shard(f"client {i}", f"secret words {i}", "more", "held out"))
    writer.finish({"corpus": "test"})
    return tmp_path / "v.db", source


def flip(blob: bytes) -> bytes:
    return blob[:-1] + bytes([blob[-1] ^ 1])


DAMAGES: list[Callable[[bytes], bytes]] = [flip, lambda b: b[:-1], lambda b: b + b"x", lambda b: b"", lambda b: b[:9]]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_blob_does_not_open(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(VaultError, match="does not open"):
        unseal(b"k" * 32, PLACE, damage(seal(b"k" * 32, PLACE, b"text")))


@pytest.mark.parametrize(
    "place",
    [
        Place(b"w" * 16, Part.TRAIN, b"r" * 16),
        Place(b"v" * 16, Part.HELD_OUT, b"r" * 16),
        Place(b"v" * 16, Part.TRAIN, b"s" * 16),
        Place(b"v" * 16, Part.TRAIN, b"r" * 16, 1),
    ],
)
def test_blob_opens_in_its_own_place_only(place: Place) -> None:
    with pytest.raises(VaultError):
        unseal(b"k" * 32, place, seal(b"k" * 32, PLACE, b"text"))


def test_documents_round_trip() -> None:
    documents = ["", "one", "zwölf \U0001f600", "\n" * 3]
    assert unpack_documents(pack_documents(documents)) == documents


def test_vault_round_trip(made: tuple[Path, KeySource]) -> None:
    vault = Vault(*made)
    opened = {tuple(vault.documents(int(p))) for p in vault.pseudonyms}
    assert opened == {(f"secret words {i}", "more") for i in range(3)}
    assert {d for p in vault.pseudonyms for d in vault.documents(int(p), Part.HELD_OUT)} == {"held out"}
    assert [name for name, _ in vault.names()] == ["client 0", "client 1", "client 2"]
    assert vault.verify() == []


def test_nothing_readable_in_the_file(made: tuple[Path, KeySource]) -> None:
    content = made[0].read_bytes()
    assert b"secret" not in content and b"client 0" not in content


def test_altered_and_swapped_rows_are_noticed(made: tuple[Path, KeySource]) -> None:
    db = sqlite3.connect(made[0])
    rows = db.execute("SELECT row_id, wrapped_key, train, held_out FROM client NATURAL JOIN shard").fetchall()
    db.execute("UPDATE client SET wrapped_key=? WHERE row_id=?", (rows[1][1], rows[0][0]))
    db.execute("UPDATE shard SET train=?, held_out=? WHERE row_id=?", (*rows[1][2:], rows[0][0]))
    db.execute("UPDATE shard SET train=? WHERE row_id=?", (flip(rows[2][2]), rows[2][0]))
    db.commit()
    assert len(Vault(*made).verify()) == 2


def test_other_key_and_open_key_file(made: tuple[Path, KeySource], tmp_path: Path) -> None:
    create_key_file(tmp_path / "other")
    with pytest.raises(VaultError, match="does not open"):
        Vault(made[0], KeySource(tmp_path / "other"))
    (tmp_path / "k").chmod(0o644)
    with pytest.raises(VaultError, match="chmod 600"):
        Vault(*made)


def test_old_vault_put_back_is_noticed(made: tuple[Path, KeySource], tmp_path: Path) -> None:
    key = json.loads((tmp_path / "k").read_text())
    for entry in key["vaults"].values():
        entry["epoch"] = 2
    (tmp_path / "k").write_text(json.dumps(key))
    with pytest.raises(VaultError, match="older copy"):
        Vault(*made)


def test_newer_format_and_truncation(made: tuple[Path, KeySource]) -> None:
    content = made[0].read_bytes()
    db = sqlite3.connect(made[0])
    db.execute("UPDATE meta SET value = '4' WHERE key='format'")
    db.commit()
    db.close()
    with pytest.raises(VaultError, match="newer format"):
        Vault(*made)
    for size in (0, 100, 5000):
        made[0].write_bytes(content[:size])
        with pytest.raises(VaultError):
            Vault(*made)


def test_unfinished_vault_does_not_stand(tmp_path: Path) -> None:
    create_key_file(tmp_path / "k")
    writer = VaultWriter(tmp_path / "v.db", KeySource(tmp_path / "k"))
    writer.add(shard("a", "x", "y"))
    assert not (tmp_path / "v.db").exists()
    writer.discard()
    assert {p.name for p in tmp_path.iterdir()} == {"k"}


def test_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASS", "correct horse")
    source = KeySource(passphrase_env="PASS")
    writer = VaultWriter(tmp_path / "v.db", source)
    writer.add(shard("a", "x", "y"))
    writer.finish({})
    assert Vault(tmp_path / "v.db", source).verify() == []
    monkeypatch.setenv("PASS", "wrong")
    with pytest.raises(VaultError, match="does not open"):
        Vault(tmp_path / "v.db", source)


def test_only_scrubbing_makes_scrubbed_text() -> None:
    with pytest.raises(TypeError):
        ScrubbedText("raw", object())
