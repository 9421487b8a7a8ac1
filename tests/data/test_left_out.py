"""Who is not in a vault is counted by cause, wherever a vault is made, changed, shown or trained on."""

import json
from pathlib import Path
from typing import Any

import pytest

import fedlm
from fedlm.config import RunConfig
from fedlm.data.partition import deal
from fedlm.errors import CorpusError
from fedlm.preparation.add import add
from fedlm.preparation.left_out import Cause, cause_of, clients_in_words
from fedlm.preparation.vault import prepare
from fedlm.report.run import _left_out
from fedlm.vault.keys import KeySource
from fedlm.vault.operations import forget
from fedlm.vault.reader import Vault
from server.store.forgotten import Forgotten
from tests.support.running import fedlm as command

# Two clients have enough, one has one document, two have blanks only, one loses a document in scrubbing (it has no text
# but a placeholder's), and one keeps two of three.
TEXTS = {
    "ann": ["one", "two", "three"],
    "bob": ["one", " ", "three"],
    "one": ["only"],
    "few": ["only", "\u00a0", ""],
    "blank": [" "],
    "none": ["", "\n", "\t", ""],
}
CAUSES = {"few_documents": 2, "no_text": 2}


def corpus(path: Path, texts: dict[str, list[str]]) -> Path:
    path.write_text("".join(json.dumps({"user": u, "text": t}) + "\n" for u, ts in texts.items() for t in ts))
    return path


def config(**more: Any) -> RunConfig:
    return RunConfig.checked({"scrub": "none", **more})


@pytest.mark.parametrize(
    ("with_text", "after", "least", "cause"),
    [
        (0, 0, 1, Cause.NO_TEXT),
        (0, 0, 5, Cause.NO_TEXT),
        (1, 1, 2, Cause.FEW_DOCUMENTS),
        (1, 0, 2, Cause.FEW_DOCUMENTS),
        (2, 1, 2, Cause.FEW_AFTER_SCRUBBING),
        (1, 0, 1, Cause.FEW_AFTER_SCRUBBING),
        (1, 0, 0, Cause.FEW_AFTER_SCRUBBING),
        (2, 2, 2, None),
        (1, 1, 0, None),
    ],
)
def test_each_client_has_one_cause(with_text: int, after: int, least: int, cause: Cause | None) -> None:
    assert cause_of(with_text, after, least) is cause


def test_every_cause_has_words() -> None:
    said = clients_in_words({str(c): n for n, c in enumerate(Cause, 1)}, 3)
    assert len(said.split(", ")) == len(Cause) and "fewer than 3 documents after scrubbing" in said


def test_python_says_who_was_left_out_and_why(tmp_path: Path) -> None:
    done = fedlm.prepare(corpus(tmp_path / "a.jsonl", TEXTS), tmp_path / "v.db", scrub="none")
    assert (done.clients, done.left_out, dict(done.left_out_causes)) == (2, 4, CAUSES)
    assert (dict(done.documents_left_out), done.without_held_out) == ({"no_text": 1}, 0)


def test_the_commands_say_it_too(tmp_path: Path) -> None:
    corpus(tmp_path / "a.jsonl", TEXTS)
    told = command("prepare", "a.jsonl", "v.db", "--scrub", "none", cwd=tmp_path).stdout
    assert "clients left out: 4 (2 without any text, 2 with fewer than 2 documents)" in told
    assert "documents left out: 1 (1 without text, before or after scrubbing)" in told
    assert not any(name in told for name in ("few ", "blank", "bob"))
    shown = json.loads(command("vault", "show", "v.db", "--json", cwd=tmp_path).stdout)
    assert (shown["left_out"], shown["left_out_causes"], shown["documents_left_out"]) == (4, CAUSES, {"no_text": 1})
    assert shown["without_held_out"] == 0
    assert "left_out_causes: 2 no_text, 2 few_documents" in command("vault", "show", "v.db", cwd=tmp_path).stdout


def test_300_people_with_one_document_each(tmp_path: Path) -> None:
    path = corpus(tmp_path / "a.jsonl", {f"u{i}": ["x"] * (2 if i < 267 else 1) for i in range(300)})
    done = fedlm.prepare(path, tmp_path / "v.db", scrub="none")
    assert (done.clients, done.left_out, dict(done.left_out_causes)) == (267, 33, {"few_documents": 33})


def test_max_clients_and_scrubbing_and_what_is_not_held_out(tmp_path: Path) -> None:
    path = corpus(tmp_path / "a.jsonl", {f"u{i}": ["x", "y"] for i in range(10)} | {"one": ["x"]})
    done = fedlm.prepare(path, tmp_path / "v.db", scrub="none", max_clients=4)
    assert (done.clients, dict(done.left_out_causes)) == (4, {"not_sampled": 6, "few_documents": 1})
    done = fedlm.prepare(path, tmp_path / "w.db", scrub="none", min_documents=1)
    assert (done.clients, done.left_out, done.without_held_out) == (11, 0, 1)
    opened = Vault(tmp_path / "w.db", KeySource(tmp_path / "w.db.key"))
    assert Forgotten().counted(opened)["without_held_out"] == 1
    one = opened.pseudonym("one")
    assert Forgotten(frozenset({one})).counted(opened)["without_held_out"] == 0
    opened.close()


@pytest.mark.parametrize("texts", [{"a": ["x"], "b": [" ", ""], "c": ["y"]}, {"a": ["x", "y"], "b": [""], "c": ["z"]}])
def test_a_corpus_with_too_few_clients_says_why(tmp_path: Path, texts: dict[str, list[str]]) -> None:
    with pytest.raises(CorpusError, match=r"Left out: 1 without any text, \d with fewer than 2 documents\.$"):
        fedlm.prepare(corpus(tmp_path / "a.jsonl", texts), tmp_path / "v.db", scrub="none")


def test_added_text_is_counted_by_cause_and_joined_to_the_counts(tmp_path: Path) -> None:
    vault, source = tmp_path / "v.db", KeySource(tmp_path / "k")
    prepare(str(corpus(tmp_path / "a.jsonl", {**TEXTS, "eve": ["a", "b"]})), vault, source, config(), lambda *_: None)
    forget(vault, source, "eve")
    more = {"ann": ["four"], "eve": ["c"], "dave": ["x"], "fay": ["", " "], "bob": [" "], "gil": ["x", "", "y"]}
    done = add(str(corpus(tmp_path / "b.jsonl", more)), vault, source, lambda *_: None)
    assert (done.clients, done.documents) == (2, 3)
    assert dict(done.causes) == {"forgotten": 1, "few_documents": 1, "no_text": 2}
    about = Vault(vault, source).about
    assert (about["left_out"], about["left_out_causes"]) == (8, {"few_documents": 3, "no_text": 4, "forgotten": 1})
    assert about["documents_left_out"] == {"no_text": 2}


DEALS = [
    'dirichlet(alpha=0.05, num_partitions=30, partition_by="group")',
    "iid(num_partitions=9)",
    "linear(num_partitions=10)",
    'pathological(num_partitions=5, num_classes_per_partition=1, partition_by="group")',
    "quantity(gini=0.3, clients=5, documents=40)",
    'topics(by="group", alpha=0.5, clients=6, documents=5)',
    'minority(by="group", share=0.5, clients=4, characters=20)',
]


@pytest.mark.parametrize("spec", DEALS)
def test_a_deal_tells_who_got_nothing_and_what_nobody_got(tmp_path: Path, spec: str) -> None:
    rows = [{"user": f"u{i}", "text": "twelve chars", "group": "abc"[i % 3]} for i in range(90)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    labels = [{"user": r["user"], "group": r["group"], "characters": "12"} for r in rows]
    parts, count = deal(spec, labels, 0)
    sizes = [int((parts == p).sum()) for p in range(count)]
    done = prepare(
        str(tmp_path / "a.jsonl"), tmp_path / "v.db", KeySource(tmp_path / "k"), config(partition=spec), lambda *_: None
    )
    assert done.clients + done.left_out == count and done.clients == sum(s >= 2 for s in sizes)
    assert (done.causes[Cause.NO_DOCUMENTS], done.causes[Cause.FEW_DOCUMENTS]) == (sizes.count(0), sizes.count(1))
    assert done.dealt_nothing == [f"part-{p:05d}" for p, s in enumerate(sizes) if s == 0]
    assert done.documents_left_out["not_dealt"] == int((parts < 0).sum())
    said = " ".join(done.told(2))
    assert ("got no document from the partition" in said) == (0 in sizes)


def test_nodes_that_share_a_corpus_count_their_own(tmp_path: Path) -> None:
    path = str(corpus(tmp_path / "a.jsonl", TEXTS))
    done = [
        prepare(path, tmp_path / f"{k}.db", KeySource(tmp_path / "k"), config(), lambda *_: None, keep)
        for k, keep in enumerate([lambda n: n in ("ann", "one", "none"), lambda n: n not in ("ann", "one", "none")])
    ]
    assert [dict(d.causes) for d in done] == [{"few_documents": 1, "no_text": 1}] * 2


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"left_out": 4, "left_out_causes": CAUSES, "min_documents": 2}, "clients left out: 4 (2 without any text"),
        ({"left_out": 3, "min_documents": 5}, "3 with fewer than 5 documents after scrubbing"),  # an earlier version
        ({"left_out_causes": {}, "without_held_out": 7}, "not evaluated: 7"),
        ({"left_out_causes": {}, "documents_left_out": {"not_dealt": 3}}, "3 given to no client by the partition"),
        ({"left_out": 0}, ""),
        ({}, ""),
    ],
)
def test_the_report_of_a_run_says_it(about: dict[str, Any], says: str) -> None:
    assert says in " ".join(_left_out(about)) and bool(_left_out(about)) == bool(says)
