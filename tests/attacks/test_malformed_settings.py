"""A server that sends no configuration: a node's worker refuses it with a sentence, and stays."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.ipc.frames import call_worker
from clients.policy import REFUSED, Policy
from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.messages.discovery import DiscoveryRequest, ExportRequest
from fedlm.messages.evaluation import EvaluateRequest, ScoreRequest
from fedlm.messages.fields import read_head
from fedlm.messages.json_text import MAX_CHARACTERS, MAX_DEPTH, read_object
from fedlm.messages.malformed import Malformed
from fedlm.messages.training import TrainRequest
from fedlm.messages.vocabulary import VocabularyRequest
from fedlm.plugins.path import PATH, passed_on
from fedlm.spec import parse_spec
from fedlm.system.processes import child_environment, module_command
from server.engines.local import take_identity
from tests.support.unlearned import seal

pytestmark = pytest.mark.flower
DEEP, WIDE = 10**5, 900  # brackets: more than any stack has, and fewer than Python's parser takes
NO_JSON_OBJECT = {
    "nothing": "",
    "a number": "5",
    "a huge number": "9" * 5000,
    "a list": "[]",
    "a string": '"text"',
    "null": "null",
    "true": "true",
    "NaN": "NaN",
    "a list nested 100,000 deep": "[" * DEEP,
    "a closed list nested 100,000 deep": "[" * DEEP + "]" * DEEP,
    "an object nested 100,000 deep": '{"a":' * DEEP,
    "a value nested 900 deep": '{"rounds": ' + "[" * WIDE + "]" * WIDE + "}",
    "an object nested 900 deep": '{"rounds": ' * WIDE + "1" + "}" * WIDE,
    "a huge number in a field": '{"seed": ' + "9" * 5000 + "}",
    "a key twice": '{"seed": 1, "seed": 2}',
    "a NaN in a field": '{"clip_norm": NaN}',
    "an infinity in a field": '{"clip_norm": -Infinity}',
    "a number beyond all floats": '{"clip_norm": 1e999}',
    "half of a surrogate pair": json.dumps({"model": "\ud800:x"}),
    "half of a surrogate pair in a key": json.dumps({"\udfff": 1}),
    "more text than any configuration": '{"model": "' + "x" * MAX_CHARACTERS + '"}',
}
NO_CONFIGURATION = {
    "a seed of 400 digits": '{"seed": ' + "9" * 400 + "}",
    "a surrogate in an option": json.dumps({"model": r"lstm(units='\ud800')"}),
    "a nested option": json.dumps({"model": "lstm(units=" + "[" * DEEP}),
    "a nested vocabulary": json.dumps({"vocabulary": "words(file='w')", "vocabulary_text": "[" * DEEP}),
    "a list as a model": '{"model": [1]}',
}
CLIENTS = np.array([1], np.uint64)
_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


def requests(settings: str) -> list[tuple[str, Message]]:
    """Returns a message of each kind that a node of a deployment answers."""
    take_identity()
    made = [
        DiscoveryRequest(settings, wants_weights=True),
        TrainRequest(settings, 1, CLIENTS, ArrayRecord()),
        EvaluateRequest(settings, 1, CLIENTS, ArrayRecord()),
        ExportRequest(settings, ArrayRecord()),
        ScoreRequest(settings, ArrayRecord(), ["tea"]),
        VocabularyRequest(settings, CLIENTS),
    ]
    return [(r.kind, Message(r.content(), 2, r.kind)) for r in made]


@pytest.mark.parametrize("what", NO_JSON_OBJECT)
def test_what_is_no_json_object_is_malformed(what: str) -> None:
    with pytest.raises(Malformed, match="'settings'") as refused:
        read_head(requests(NO_JSON_OBJECT[what])[0][1].content)
    assert len(str(refused.value)) < 200


@given(st.recursive(_PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)), st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_the_text_is_it_is_read_or_malformed(value: object, data: st.DataObject) -> None:
    text = json.dumps({"value": value}, ensure_ascii=data.draw(st.booleans()))
    at, inserted = (
        data.draw(st.integers(0, len(text))),
        data.draw(st.sampled_from(["", "[", "}", '"', "NaN", "\\ud800"])),
    )
    try:
        found = read_object(text[:at] + inserted + text[at + data.draw(st.integers(0, 2)) :])
    except Malformed:
        return
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()


def test_json_is_read_as_deep_as_the_limit_and_no_deeper() -> None:
    inside = MAX_DEPTH - 1
    assert (
        read_object('{"a": ' + "[" * inside + "1" + "]" * inside + ', "b": "\\ud83c\\udf75"}')["b"]
        == "\N{TEACUP WITHOUT HANDLE}"
    )
    with pytest.raises(Malformed):
        read_object('{"a": ' + "[" * (inside + 1) + "1" + "]" * (inside + 1) + "}")


@pytest.mark.parametrize("what", NO_CONFIGURATION)
def test_what_is_no_configuration_is_refused_with_a_sentence_that_can_be_sent(what: str) -> None:
    with pytest.raises(ConfigError) as refused:
        RunConfig.checked(read_object(NO_CONFIGURATION[what]))
    assert len(str(refused.value).encode()) < 1000


def test_a_spec_holds_no_half_of_a_surrogate_pair() -> None:
    for text in (r"lstm(x='\ud800')", r"lstm(x=('a', {'\udfff': 1}))"):
        with pytest.raises(ConfigError, match="is not a name with options"):
            parse_spec(text)


@pytest.mark.parametrize("number", [2**63, 2.0**64, 1e300])
def test_a_round_is_a_word(number: float) -> None:
    content = requests("{}")[0][1].content
    content["config"]["round"] = min(number, 2**63 - 1) if isinstance(number, int) else number
    if isinstance(number, int):
        assert read_head(content)[2] == 2**63 - 1
        return
    with pytest.raises(Malformed, match="'round' is out of range"):
        read_head(content)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, "subprocess.Popen[bytes]"]]:
    """Starts the worker of a deployment's node; yields its socket and its process."""
    folder = tmp_path_factory.mktemp("node")
    vault = seal(folder / "data")
    policy = Policy(plugins=("\N{TEACUP WITHOUT HANDLE}:x",)).to_toml()
    (folder / "policy.toml").write_text(policy)
    (folder / "\N{TEACUP WITHOUT HANDLE}.py").write_text("x = None\n")  # a worker loads its policy's plug-ins first
    socket = folder / "s" / "w"
    words = ["--socket", socket, "--policy", folder / "policy.toml", "--vault", vault, "--key-file", f"{vault}.key"]
    found = {PATH: os.pathsep.join([passed_on(), str(folder)])}
    process = subprocess.Popen(module_command("clients.worker", *map(str, words)), env=child_environment(found))
    yield socket, process
    process.kill()
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("what", [*NO_JSON_OBJECT, *NO_CONFIGURATION])
def test_a_worker_answers_every_kind_of_message_and_stays(
    worker: tuple[Path, "subprocess.Popen[bytes]"], what: str
) -> None:
    socket, process = worker
    for kind, message in requests((NO_JSON_OBJECT | NO_CONFIGURATION)[what]):
        reply = call_worker(socket, message)  # raises if the worker is lost
        assert reply.has_error() and reply.error.code == REFUSED, kind
        assert ("malformed" in reply.error.reason) == (what in NO_JSON_OBJECT), reply.error.reason
    assert process.poll() is None
