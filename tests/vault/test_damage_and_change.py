"""Changes of a vault in which a client is damaged, or an older row was put back."""

import json
import sqlite3
from pathlib import Path

import pytest

from fedlm.errors import VaultError
from fedlm.preparation.add import add
from fedlm.vault.keys import KeySource
from fedlm.vault.operations import forget, rotate
from fedlm.vault.reader import Vault
from tests.vault.test_attack import put_row, rows
from tests.vault.test_change import content, corpus, make, texts


def test_text_is_not_added_to_an_older_row_that_was_put_back(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b"))
    old = rows(vault)
    add(corpus(tmp_path / "more.jsonl", texts("a", "b", first=5, last=7)), vault, source, lambda *_: None)
    for row in old:
        put_row(vault, row)
    with pytest.raises(VaultError, match="does not open"):
        add(corpus(tmp_path / "third.jsonl", texts("a", first=7, last=8)), vault, source, lambda *_: None)
    assert sorted(rows(vault)) == sorted(old)


def _wreck(vault: Path, source: KeySource, *names: str) -> None:
    """Damages the wrapped keys of clients."""
    opened = Vault(vault, source)
    for name in names:
        entry = opened._entry(opened.pseudonym(name))
        with sqlite3.connect(vault) as db:
            db.execute("UPDATE client SET wrapped_key = x'00' WHERE row_id = ?", (entry["row_id"].tobytes(),))
    opened.close()


def _left(vault: Path, source: KeySource) -> tuple[set[str], set[str]]:
    """Returns the names of the clients that open, and of those that do not."""
    opened = Vault(vault, source)
    broken = set(opened.verify())
    names = {name: opened.pseudonym(name) in broken for name, _ in opened.names()}
    opened.close()
    return {n for n, lost in names.items() if not lost}, {n for n, lost in names.items() if lost}


@pytest.mark.parametrize("whom", ["a", "c"])  # one that is damaged, one that is not
def test_damaged_clients_do_not_keep_others_from_being_forgotten(tmp_path: Path, whom: str) -> None:
    vault, source = make(tmp_path, texts("a", "b", "c", "d"))
    _wreck(vault, source, "a", "b")
    assert rotate(vault, source)["clients"] == 4
    assert _left(vault, source) == ({"c", "d"}, {"a", "b"})
    assert forget(vault, source, whom)["verification"]["row"] == "gone"
    assert _left(vault, source) == ({"c", "d"} - {whom}, {"a", "b"} - {whom})
    forget(vault, source, "b")
    rotate(vault, source)
    assert _left(vault, source)[0] == {"c", "d"} - {whom}


def test_a_row_that_is_gone_keeps_nobody_from_rotating(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b", "c"))
    with sqlite3.connect(vault) as db:
        db.execute("DELETE FROM client WHERE row_id = (SELECT MIN(row_id) FROM client)")
    rotate(vault, source)
    opened, lost = _left(vault, source)
    assert (len(opened), len(lost)) == (2, 1)
    for name in lost:
        forget(vault, source, name)
    assert set(content(vault, source)) == opened


def test_a_new_client_gets_the_labels_that_all_its_documents_share(tmp_path: Path) -> None:
    vault, source = make(tmp_path, texts("a", "b"))
    lines = [{"user": "c", "text": f"c says {i}.", "group": "g", "day": str(i)} for i in range(3)]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    add(str(tmp_path / "more.jsonl"), vault, source, lambda *_: None)
    opened = Vault(vault, source)
    assert dict(opened.names())["c"] == {"group": "g"}
    opened.close()
