"""Which of a client's documents land in which part of a vault: by hand, by property, and with given test text."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlm import prepare
from fedlm.config import RunConfig
from fedlm.errors import ConfigError, CorpusError
from fedlm.preparation.add import add
from fedlm.preparation.split import split_texts
from fedlm.preparation.vault import prepare as seal
from fedlm.vault.format import Part
from fedlm.vault.keys import KeySource
from fedlm.vault.parts import COLUMNS, joined
from fedlm.vault.reader import Vault

Texts = Mapping[str, list[str]]


def corpus(path: Path, texts: Texts) -> Path:
    path.write_text("".join(json.dumps({"user": u, "text": t}) + "\n" for u, ts in texts.items() for t in ts))
    return path


def numbered(count: int, name: str = "d") -> list[str]:
    return [f"{name}{place}" for place in range(count)]


def parts_of(vault: Path) -> dict[str, tuple[list[str], ...]]:
    with contextlib.closing(Vault(vault, KeySource(vault.with_name(vault.name + ".key")))) as opened:
        assert opened.verify() == []
        names = [name for name, _ in opened.names()]
        return {n: tuple(opened.documents(opened.pseudonym(n), part) for part in COLUMNS) for n in names}


def made(folder: Path, texts: Texts, test: Texts | None = None, **settings: Any) -> Any:
    given_test = corpus(folder / "test.jsonl", test) if test is not None else None
    return prepare(corpus(folder / "c.jsonl", texts), folder / "v.db", test=given_test, scrub="none", **settings)


@pytest.mark.parametrize(
    ("documents", "holdout", "validation", "sizes"),
    [
        (10, 0.2, 0.1, (7, 1, 2)),
        (10, 0.2, 0.0, (8, 0, 2)),
        (10, 0.0, 0.1, (9, 1, 0)),
        (25, 0.2, 0.1, (18, 2, 5)),
        (3, 0.2, 0.1, (1, 1, 1)),
        (2, 0.2, 0.1, (1, 0, 1)),  # training keeps one, and the held-out part comes first
        (1, 0.2, 0.1, (1, 0, 0)),
        (2, 0.0, 0.5, (1, 1, 0)),
        (10, 0.5, 0.45, (1, 4, 5)),
    ],
)
def test_parts_by_hand(documents: int, holdout: float, validation: float, sizes: tuple[int, int, int]) -> None:
    texts = numbered(documents)
    parts = split_texts(texts, RunConfig(holdout_fraction=holdout, validation_fraction=validation))
    assert tuple(map(len, parts)) == sizes
    assert joined(parts) == texts  # in order: training, validation, held-out


@given(st.integers(1, 400), st.floats(0, 0.999), st.floats(0, 0.999))
def test_parts_are_disjoint_in_order_and_the_whole(documents: int, holdout: float, validation: float) -> None:
    if holdout + validation >= 1:
        with pytest.raises(ConfigError, match="their sum must be below 1"):
            RunConfig(holdout_fraction=holdout, validation_fraction=validation)
        return
    texts = list(range(documents))
    parts = split_texts(texts, RunConfig(holdout_fraction=holdout, validation_fraction=validation))
    assert joined(parts) == texts and parts.train  # type: ignore[arg-type]
    without = split_texts(texts, RunConfig(holdout_fraction=holdout))
    assert parts.held_out == without.held_out  # validation text is taken from training text alone
    assert not without.validation and without.train == parts.train + parts.validation


def test_a_vault_holds_the_parts_and_says_who_has_no_validation_text(tmp_path: Path) -> None:
    done = made(tmp_path, {"ann": numbered(10), "bob": numbered(2)}, validation_fraction=0.1)
    assert parts_of(tmp_path / "v.db") == {
        "ann": (numbered(7), ["d7"], ["d8", "d9"]),
        "bob": (["d0"], [], ["d1"]),
    }
    assert (done.without_validation, done.without_held_out, done.evaluated_only) == (1, 0, 0)


def test_text_that_is_added_is_split_as_if_it_had_come_at_once(tmp_path: Path) -> None:
    made(tmp_path, {"ann": numbered(6), "bob": numbered(3)}, validation_fraction=0.25)
    vault, source = tmp_path / "v.db", KeySource(tmp_path / "v.db.key")
    add(str(corpus(tmp_path / "more.jsonl", {"ann": numbered(10)[6:]})), vault, source, lambda *_: None)
    assert parts_of(vault)["ann"] == (numbered(6), ["d6", "d7"], ["d8", "d9"])


def test_given_test_text_is_the_held_out_part_of_the_same_people(tmp_path: Path) -> None:
    train = {"ann": numbered(10), "\u00c9mile": numbered(3), "cid": numbered(2)}
    test = {"ann ": ["t0", "t1"], "E\u0301mile": ["t2"], "dan": ["t3", " "], "eve": ["  "]}
    done = made(tmp_path, train, test, validation_fraction=0.1)
    assert parts_of(tmp_path / "v.db") == {
        "ann": (numbered(9), ["d9"], ["t0", "t1"]),
        "\u00c9mile": (numbered(2), ["d2"], ["t2"]),  # two spellings of one name
        "cid": (["d0"], ["d1"], []),
        "dan": ([], [], ["t3"]),
    }
    assert (done.clients, done.evaluated_only, done.without_held_out, done.without_validation) == (4, 1, 1, 0)
    with contextlib.closing(Vault(tmp_path / "v.db", KeySource(tmp_path / "v.db.key"))) as opened:
        assert (opened.about["test"], opened.about["evaluated_only"]) == ("test.jsonl", 1)
        assert opened.tokens(opened.pseudonym("dan")) == 0
        assert opened.tokens(opened.pseudonym("dan"), Part.HELD_OUT) == 3


def test_text_that_is_added_later_is_never_held_out_where_test_text_was_given(tmp_path: Path) -> None:
    made(tmp_path, {"ann": numbered(4), "bob": numbered(4)}, {"ann": ["t0"]}, validation_fraction=0.25)
    vault, source = tmp_path / "v.db", KeySource(tmp_path / "v.db.key")
    add(str(corpus(tmp_path / "more.jsonl", {"ann": numbered(8)[4:]})), vault, source, lambda *_: None)
    assert parts_of(vault)["ann"] == (numbered(6), ["d6", "d7"], ["t0"])


def test_too_few_clients_that_train_are_refused_however_many_are_in_the_test_text(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="one client only"):
        made(tmp_path, {"ann": numbered(4)}, {name: ["t"] for name in ("ann", "bob", "cid")})


def test_test_text_of_nobody_who_is_kept_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="has no text of a client that is kept"):
        made(tmp_path, {"ann": numbered(4), "bob": numbered(4)}, {"ann": [" "]})
    assert not (tmp_path / "v.db").exists()


def test_max_clients_bounds_those_that_train_and_those_that_are_only_evaluated(tmp_path: Path) -> None:
    train, test = {f"a{i}": numbered(2) for i in range(6)}, {f"{c}{i}": ["t"] for i in range(6) for c in "ab"}
    done = made(tmp_path, train, test, max_clients=3)
    assert (done.clients, done.evaluated_only, done.left_out) == (6, 3, 3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"holdout_fraction": 0.3}, "does not go with a test corpus"),
        ({"partition": "iid(num_partitions=2)"}, "partition"),
    ],
)
def test_settings_that_do_not_go_with_given_test_text(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        made(tmp_path, {"ann": numbered(4), "bob": numbered(4)}, {"ann": ["t"]}, **settings)
    assert str(caught.value).count(". ") == 0 and not (tmp_path / "v.db").exists()
    made(tmp_path, {"ann": numbered(4), "bob": numbered(4)}, {"ann": ["t"]}, holdout_fraction=0)


def test_a_vault_of_a_share_of_the_clients_keeps_their_test_text_only(tmp_path: Path) -> None:
    train, test = (
        corpus(tmp_path / f"{n}.jsonl", {u: numbered(2, n) for u in us}) for n, us in (("d", "ab"), ("t", "abcd"))
    )
    vault, config = tmp_path / "v.db", RunConfig.checked({"scrub": "none"})
    source = KeySource(tmp_path / "v.db.key")
    seal(str(train), vault, source, config, lambda *_: None, keep=lambda name: name in "bd", test=str(test))
    assert parts_of(vault) == {"b": (["d0", "d1"], [], ["t0", "t1"]), "d": ([], [], ["t0", "t1"])}
