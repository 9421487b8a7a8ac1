"""What unlearning says: a signed receipt that tells no more than it must, what it does not reach, and no mixture of texts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedlm.errors import ConfigError, VaultError
from fedlm.preparation.add import add
from fedlm.privacy.vocabulary import plan_words
from fedlm.vault.keys import KeySource
from fedlm.vault.operations import forget, rotate
from fedlm.vault.reader import Vault
from fedlm.vault.receipts import check_receipt
from server.run.vocabulary import _about, words_content
from server.store.checkpoint import Checkpoint
from server.store.run_folder import RunFolder
from server.store.vault_state import VaultState
from server.unlearning import delete, plan
from server.unlearning_receipt import unlearning_receipt
from tests.server.test_unlearning import names, pretended
from tests.support.unlearned import seal, settings

PRIVATE = {
    "mechanism": "gaussian",
    "weighting": "uniform",
    "clip_norm": 0.5,
    "sampling_rate": 0.5,
    "max_client_tokens": 10**6,
}
AFTER = "ab" * 32


class Stage:
    """A vault, and runs on it whose files say that a client trained in some rounds of six."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.vault = folder, seal(folder / "all")
        self.source = KeySource(self.vault.with_name("v.db.key"))
        self.names = names(self.vault)
        self.client, self.name = next(iter(self.names.items()))

    def run(self, *took_part: int, **more: Any) -> Path:
        config = settings(**{"rounds": 6, "keep_every": 1, **more})
        run = pretended(self.folder / f"run-{len(list(self.folder.iterdir()))}", self.vault, config, list(took_part), self.client, [0, 2, 4])  # fmt: skip
        opened = Vault(self.vault, self.source)
        VaultState.of(opened).write(run)
        opened.close()
        return run

    def unlearned(self, run: Path) -> dict[str, Any]:
        cost = plan(run, self.vault, self.source, self.name)
        delete(run, cost)
        return unlearning_receipt(run, self.vault, self.source, self.name, cost, AFTER, "case 7")

    def public_key(self) -> bytes:
        opened = Vault(self.vault, self.source)
        key = opened.public_key
        opened.close()
        return key

    def add(self) -> None:
        rows = [{"user": self.name, "text": f"something new {i}"} for i in range(3)]
        (self.folder / "more.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        add(str(self.folder / "more.jsonl"), self.vault, self.source, lambda *_: None)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_the_receipt_states_what_changed_and_is_signed_by_the_vault(stage: Stage) -> None:
    run = stage.run(4, 6)
    receipt = stage.unlearned(run)
    check_receipt(receipt, stage.public_key())
    assert receipt["receipt"] == "unlearning" and receipt["reference"] == "case 7"
    assert receipt["weights_sha256_before"] != receipt["weights_sha256_after"] == AFTER
    assert (receipt["first_round_again"], receipt["rounds_again"]) == (3, 4)  # the checkpoint of round 2 was kept
    assert receipt["row_id"] == forget(stage.vault, stage.source, stage.name)["row_id"]  # both deletions, one client
    for field in ("rounds_again", "weights_sha256_before", "row_id", "config_sha256", "receipt"):
        with pytest.raises(VaultError, match="altered"):
            check_receipt({**receipt, field: "0"}, stage.public_key())


def test_a_repeated_command_states_the_run_as_it_was(stage: Stage) -> None:
    run = stage.run(4, 6)
    first = stage.unlearned(run)
    RunFolder.open(run).save_checkpoint(Checkpoint(5, (np.ones(2, np.float32),)))  # killed while it trained again
    again = stage.unlearned(run)
    drop = ("when", "signature")
    assert {k: v for k, v in first.items() if k not in drop} == {k: v for k, v in again.items() if k not in drop}


@pytest.mark.parametrize("more", [{}, PRIVATE])
def test_the_receipt_leads_to_no_file_of_the_run_and_names_nobody(stage: Stage, more: dict[str, Any]) -> None:
    run = stage.run(4, 6, **more)
    receipt = json.dumps(stage.unlearned(run))
    for secret in (stage.name, str(stage.client), f"{stage.client:016x}"):
        assert secret not in receipt
    row_id = json.loads(receipt)["row_id"]
    assert not any(row_id in p.read_text(errors="replace") for p in run.rglob("*") if p.is_file())


def test_under_differential_privacy_the_receipt_does_not_tell_when_the_client_took_part(stage: Stage) -> None:
    receipts = [stage.unlearned(stage.run(*rounds, **PRIVATE)) for rounds in ([2], [4, 6], [])]
    varies = {"when", "signature"}
    assert len({json.dumps({k: v for k, v in r.items() if k not in varies}) for r in receipts}) == 1


def test_text_that_was_added_since_is_not_mixed_in(stage: Stage) -> None:
    run, idle = stage.run(4, 6), stage.run()
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    rotate(stage.vault, stage.source)  # another key, the same text
    assert plan(run, stage.vault, stage.source, stage.name).rounds == 4
    stage.add()
    with pytest.raises(ConfigError, match="would mix old and new text; nothing was deleted"):
        plan(run, stage.vault, stage.source, stage.name)
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before
    assert plan(idle, stage.vault, stage.source, stage.name).rounds == 0  # nothing is trained, so nothing is mixed
    assert plan(stage.run(4), stage.vault, stage.source, stage.name).rounds == 4  # began after the addition


def test_other_clients_that_the_vault_has_forgotten_are_told(stage: Stage) -> None:
    run = stage.run(4, 6)
    assert plan(run, stage.vault, stage.source, stage.name).notes == ()
    others = [n for n in stage.names.values() if n != stage.name][:2]
    for name in others:
        forget(stage.vault, stage.source, name)
    (note,) = plan(run, stage.vault, stage.source, stage.name).notes
    assert "forgotten 2 other clients" in note
    forget(stage.vault, stage.source, stage.name)  # itself is not another one
    assert plan(run, stage.vault, stage.source, stage.name).notes == (note,)


@pytest.mark.parametrize("learned", ["private", "file"])
def test_a_vocabulary_that_saw_the_client_is_told_although_the_client_trained_in_no_round(
    stage: Stage, learned: str
) -> None:
    cost, config = plan_words(2.0, 1e-5, 4, False), settings()
    about = _about(cost, config) if learned == "private" else None
    run = stage.run(rounds=6)
    (run / "vocabulary.json").write_text(words_content(["ay", "no"], 9000, privacy=about))  # type: ignore[arg-type]
    toml = (run / "config.toml").read_text().replace('vocabulary = "chars"', "vocabulary = \"words(file='vocabulary.json')\"")  # fmt: skip
    (run / "config.toml").write_text(toml)
    cost_of_it = plan(run, stage.vault, stage.source, stage.name)
    assert cost_of_it.first == -1 and "never took part" not in cost_of_it.why
    (note,) = cost_of_it.notes
    assert ("counted the text of all clients" if learned == "private" else "vocabulary file is kept") in note
    assert stage.unlearned(run)["remains"] == [note]
    assert (run / "vocabulary.json").is_file() and RunFolder.open(run).config.vocabulary.startswith("words")
