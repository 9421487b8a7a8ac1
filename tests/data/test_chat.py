"""Chats in a field of text: the known forms become lines, everything else is refused, and nothing is Python's repr."""

import json
from pathlib import Path

import pytest

from fedlm.data.chat import chat_text
from fedlm.data.corpus import open_corpus
from fedlm.errors import CorpusError
from fedlm.scrub.files import scrub_file
from tests.data.test_own_files import hub

CHATS: list[tuple[object, str]] = [
    ([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}], "user: hi\nassistant: hello"),
    ([{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}], "human: hi\ngpt: hello"),
    ({"role": ["user", "assistant"], "content": ["hi", "hello"]}, "user: hi\nassistant: hello"),
    ({"from": ["human"], "value": ["hi"], "weight": [1]}, "human: hi"),
    ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], "user: a\nb"),
    ([{"role": "user", "content": "hi", "name": "x", "tool_calls": None}], "user: hi"),
    ([{"role": "user", "content": ""}], "user: "),
    ([], ""),
]
NO_CHATS: list[object] = [
    {"role": "user", "content": "secret"},
    {"messages": [{"role": "user", "content": "secret"}]},
    ["secret"],
    [["secret"]],
    [{"role": "user"}],
    [{"content": "secret"}],
    [{"role": "user", "content": None}],
    [{"role": "user", "content": 3}],
    [{"role": 1, "content": "secret"}],
    [{"role": "user", "content": "secret"}, "secret"],
    [{"role": "user", "content": [{"type": "image_url", "image_url": "secret"}]}],
    [{"role": "user", "content": [{"type": "text", "text": None}]}],
    {"role": ["user"], "content": ["secret", "secret"]},
    [None],
    {},
]


@pytest.mark.parametrize(("chat", "text"), CHATS)
def test_a_chat_is_lines_in_files_and_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chat: object, text: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"user": "ann", "text": chat}))
    scrub_file(path, tmp_path / "out.jsonl", "none", spans=False)
    hub(monkeypatch, {"user": "ann", "text": chat, "mood": None})
    found = [d.text for corpus in (str(path), "hf:some/set") for d in open_corpus(corpus)]
    assert [*found, json.loads((tmp_path / "out.jsonl").read_text())["text"]] == [text] * 3


@pytest.mark.parametrize("value", NO_CHATS)
def test_other_lists_and_objects_are_refused_with_the_accepted_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    assert chat_text(value) is None
    (tmp_path / "a.jsonl").write_text(json.dumps({"user": "ann", "text": value}))
    hub(monkeypatch, {"user": "ann", "text": value, "mood": None})
    for corpus, place in ((str(tmp_path / "a.jsonl"), "Line 1 of"), ("hf:some/set", "Row 1 of the data set")):
        with pytest.raises(CorpusError) as error:
            list(open_corpus(corpus))
        said = str(error.value)
        assert place in said and "role and content, or with from and value" in said and "secret" not in said


@pytest.mark.parametrize("value", [1.5, True, [1], {"a": 1}, float("nan"), b"x"])
def test_a_user_or_text_of_the_hub_is_never_a_repr(monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    for column in ("user", "text"):
        if column == "user" and value is True:
            continue  # two classes are two clients
        hub(monkeypatch, {"user": "ann", "text": "x", "mood": None, column: value})
        with pytest.raises(CorpusError, match="Row 1 of the data set"):
            list(open_corpus("hf:some/set"))


def test_labels_that_are_lists_are_json(tmp_path: Path) -> None:
    row = {"user": "a", "text": "x", "tags": ["b", "\u00e9"], "more": {"z": 1, "a": None}, "none": None, "flag": True}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    (document,) = open_corpus(str(tmp_path / "a.jsonl"))
    assert document.labels == {"tags": '["b", "\u00e9"]', "more": '{"a": null, "z": 1}', "flag": "True"}
