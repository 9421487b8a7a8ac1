"""Files as they come: LEAF's layouts, halves of surrogate pairs, blank lines, rows of the hub without text."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedlm.config import RunConfig
from fedlm.data.corpus import open_corpus
from fedlm.data.files import read_path, whole
from fedlm.errors import CorpusError
from fedlm.preparation.vault import prepare
from fedlm.scrub.files import scrub_file
from fedlm.vault.keys import KeySource
from fedlm.vault.reader import Vault

SENT140 = ["1467", "Mon Apr 06", "NO_QUERY", "ann", "off to bed", "training"]
REDDIT = [["<BOS>", "not", "so", "fast"], ["<EOS>", "<PAD>", "<PAD>"]]


def leaf(path: Path, *samples: object) -> Path:
    path.write_text(json.dumps({"users": ["ann"], "user_data": {"ann": {"x": samples, "y": [0] * len(samples)}}}))
    return path


def test_leaf_rows_of_sent140_and_reddit_give_their_text(tmp_path: Path) -> None:
    documents = read_path(leaf(tmp_path / "a.json", "one", SENT140, REDDIT))
    assert [d.text for d in documents] == ["one", "off to bed", "not so fast"]


@pytest.mark.parametrize(
    "sample", [["id", "secret"], [*SENT140[:5], 1], [["secret"], "secret"], [], 4, {"a": "secret"}]
)
def test_other_leaf_rows_are_refused_in_one_sentence(tmp_path: Path, sample: object) -> None:
    path = leaf(tmp_path / "a.json", "one", sample)
    with pytest.raises(CorpusError, match=r"Sample 2 of .*a\.json") as error:
        list(read_path(path))
    assert "secret" not in str(error.value)


def test_halves_of_surrogate_pairs_are_joined_or_replaced() -> None:
    assert whole("a \ud83d\ude00 b") == "a \U0001f600 b"
    assert whole("\ud83d a \ude00") == "\ufffd a \ufffd"
    assert whole("\ufeffzw\u00f6lf \U0001f600") == "\ufeffzw\u00f6lf \U0001f600"


HALF = "".join(
    f'{{"user": "{user}", "text": "Hello \\ud83d, I am Tom.", "mood": "\\ude00"}}\n'
    for user in ("ann\\ud83d", "ann\\ud83d", "bob", "bob")
)


def test_half_a_surrogate_pair_stops_no_preparation(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(HALF)
    vault, source = tmp_path / "v.db", KeySource(tmp_path / "k")
    rules = RunConfig.checked({"scrub": "none", "vocabulary": "bytes"})
    prepare(str(tmp_path / "a.jsonl"), vault, source, rules, lambda *_: None)
    opened = Vault(vault, source)
    assert dict(opened.names()) == {"ann\ufffd": {"mood": "\ufffd"}, "bob": {"mood": "\ufffd"}}
    assert opened.documents(opened.pseudonym("bob")) == ["Hello \ufffd, I am Tom."]
    opened.close()


def test_half_a_surrogate_pair_is_replaced_in_leaf_and_in_names_of_files(tmp_path: Path) -> None:
    path = leaf(tmp_path / "a.json", "x \ud83d")
    path.write_text(path.read_text().replace('"ann"', '"ann\\ude00"'))
    assert [(d.user, d.text) for d in open_corpus(str(path))] == [("ann\ufffd", "x \ufffd")]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b\udcff.txt").write_text("text")
    assert [d.user for d in open_corpus(str(tmp_path / "folder"))] == ["b\ufffd"]
    (tmp_path / "folder" / "b\udcfe.txt").write_text("text")
    with pytest.raises(CorpusError, match="cannot be told from another"):
        list(open_corpus(str(tmp_path / "folder")))


def test_a_scrubbed_file_has_what_a_preparation_reads(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(HALF)
    scrub_file(tmp_path / "a.jsonl", tmp_path / "out.jsonl", "patterns", spans=False)
    scrubbed = [json.loads(line)["text"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert scrubbed == [d.text for d in read_path(tmp_path / "a.jsonl")]


def test_a_line_of_blanks_parts_documents(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "ann.txt").write_text("one\nstill one\n \t \ntwo\r\n  \r\n\n three \n")
    assert [d.text for d in open_corpus(str(tmp_path / "folder"))] == ["one\nstill one", "two", "three"]


class Rows(list[dict[str, object]]):
    """A split of the hub."""

    column_names = ("user", "text", "mood")


def hub(monkeypatch: pytest.MonkeyPatch, *rows: dict[str, object]) -> None:
    """Puts rows where `flwr_datasets` would fetch them."""
    loaded = SimpleNamespace(load_split=lambda _: Rows(rows))
    module = SimpleNamespace(FederatedDataset=lambda **_: loaded)
    monkeypatch.setitem(sys.modules, "flwr_datasets", module)
    monkeypatch.setitem(sys.modules, "flwr_datasets.partitioner", SimpleNamespace(IidPartitioner=lambda _: None))


def test_hub_rows_are_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, {"user": 7, "text": "x \ud83d", "mood": "\ude00"})
    (document,) = open_corpus("hf:some/set")
    assert (document.user, document.text, document.labels) == ("7", "x \ufffd", {"mood": "\ufffd"})


@pytest.mark.parametrize("column", ["user", "text"])
def test_a_hub_row_without_user_or_text_is_refused(monkeypatch: pytest.MonkeyPatch, column: str) -> None:
    row: dict[str, object] = {"user": "ann", "text": "secret", "mood": None}
    hub(monkeypatch, row, {**row, column: None})
    with pytest.raises(CorpusError, match=f"Row 2 of the data set some/set has no {column}") as error:
        list(open_corpus("hf:some/set"))
    assert "secret" not in str(error.value)
