"""Nothing that was planted in a corpus, and no key, is in any file, stream or message of ours."""

import base64
import json
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest
from flwr.app import Message
from flwr.common.serde import message_to_proto

from fedlm.config import RunConfig
from fedlm.vault.keys import KeySource
from server.engines.local import LocalEngine
from server.engines.workers import WorkerCommand
from server.run.federation import Federation
from server.store.run_folder import RunFolder
from tests.support.leak_markers import Needle, keys_of, search
from tests.support.leaks import SETTINGS, Stage, play_short


class Recording(LocalEngine):
    """Keeps the bytes of every message, in both directions."""

    messages: list[bytes]

    def submit(self, messages: Sequence[Message], timeout: float | None) -> list[Future[Message]]:
        futures = super().submit(messages, timeout)
        replies = [future.result() for future in futures]
        self.messages += [message_to_proto(m).SerializeToString() for m in [*messages, *replies]]
        return futures


@pytest.mark.slow
@pytest.mark.flower
def test_no_marker_and_no_key_in_any_file_stream_or_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(tmp_path)
    play_short(stage)
    for name, value in stage.environment.items():
        monkeypatch.setenv(name, value)
    vault = tmp_path / "work" / "v.db"
    source = KeySource(Path(f"{vault}.key"))
    assert source.file is not None
    config = RunConfig.checked(
        dict(s.split("=", 1) for s in SETTINGS) | {"rounds": 2, "cohort_size": 3, "eval_every": 1}
    )
    with Recording(WorkerCommand(vault, source.file), workers=1) as engine:
        engine.messages = []
        run = Federation(engine, config, RunFolder.create(tmp_path / "work" / "sent", config), listener=print)
        run.start()
        run.run()
    said = capfd.readouterr()
    (tmp_path / "said" / "in-process").write_text(said.out + said.err)
    assert len(engine.messages) > 6 and sum(map(len, engine.messages)) > 50_000
    found = search((("a message", m) for m in engine.messages), stage.needles + keys_of(vault), config)
    assert found[0] == []
    hits, total = stage.leaks()
    assert hits == [] and total > 100_000


@pytest.mark.parametrize(
    "form",
    [
        lambda raw: raw,
        lambda raw: raw.decode().encode("utf-16-le"),
        lambda raw: base64.b64encode(b"xy" + raw + b"z"),
        lambda raw: raw.hex().encode(),
        lambda raw: json.dumps(list(raw)).encode(),
        lambda raw: RunConfig.checked({}).vocab.encode(raw.decode()).astype("<i4").tobytes(),
    ],
)
def test_the_search_finds_a_marker_in_each_form(form: object) -> None:
    needle = Needle("word", b"zqbcdfghjkmnpq")
    assert callable(form)
    hits, _ = search(iter([("place", b"before " + form(needle.raw) + b" after")]), [needle], RunConfig.checked({}))
    assert hits and "zqbcd" not in hits[0]
    assert search(iter([("place", b"nothing here")]), [needle], RunConfig.checked({}))[0] == []
