"""A node that sends no reply, under differential privacy: nothing is released, and the run does not go on so for ever."""

import json
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message

from fedlm.config import RunConfig
from fedlm.errors import CohortError, FedLMWarning
from fedlm.messages.evaluation import EvaluateRequest
from fedlm.messages.training import TrainRequest
from server.store.run_folder import RunFolder
from tests.support.neighbours import NODES, SETTINGS, run_over, seal

pytestmark = [pytest.mark.slow, pytest.mark.flower]
PRIVATE = {
    "mechanism": "adaptive(quantile=0.5)",
    "weighting": "uniform",
    "max_client_tokens": 8000,
    "clip_norm": 0.5,
    "noise_multiplier": 1.0,
    "sampling_rate": 1.0,
    "cohort_size": 12,
    "rounds": 5,
}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "private" / "metrics.jsonl").read_text().splitlines()]


def test_rounds_that_lose_a_chunk_are_charged_and_release_nothing_and_three_in_a_row_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vaults = [seal(tmp_path / v, [f"{v}{i}" for i in range(6)]) for v in "ab"]
    config, run = RunConfig.checked({**SETTINGS, **PRIVATE}), tmp_path / "run"

    def fails(message: Message) -> bool:
        is_train = message.metadata.message_type == TrainRequest.kind
        if message.metadata.message_type == EvaluateRequest.kind:
            return message.metadata.dst_node_id == NODES[1]  # whose held-out text does not open, say
        return is_train and message.metadata.dst_node_id == NODES[1] and message.content["config"]["round"] >= 2

    with (
        pytest.warns(FedLMWarning, match="Round 2 released nothing, because a node sent no usable reply"),
        pytest.raises(CohortError, match="3 rounds in a row, up to round 4, released nothing") as stopped,
    ):
        run_over(vaults, run, config, monkeypatch, fails)
    assert stopped.value.exit_code == 4
    found = lines(run)
    assert [line["round"] for line in found] == [0, 1, 2, 3, 4]
    assert "released" not in found[1] and found[1]["train_loss"] > 0
    assert all(line["released"] is False and line["problems"] == ["The node failed."] for line in found[2:])
    assert all(line["lost"] == 6 and "train_loss" in line for line in found[2:])
    assert all("eval" not in line and "The node failed." in line["eval_failed"] for line in found)
    assert [r["round"] for r in json.loads((run / "ledger.json").read_text())["releases"]] == [1, 2, 3, 4]
    kept = RunFolder(run).load_checkpoint()
    assert kept.round == 4 and found[1]["clip_norm"] == found[4]["clip_norm"] != 0.5  # of the one release
    done = run_over(vaults, run, config, monkeypatch)  # the node is back
    assert lines(run)[-1]["round"] == 5 and "eval" in lines(run)[-1]
    after = done.folder.load_checkpoint()
    assert any((a != b).any() for a, b in zip(kept.weights, after.weights, strict=True))
    assert all(
        set(json.loads(line)) == {"round", "epsilon", "covers", "clip_norm"} for line in (run / "metrics.jsonl").open()
    )


def test_held_out_text_that_does_not_open_stops_no_private_run_and_no_older_figure_is_called_final(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vaults = [seal(tmp_path / v, [f"{v}{i}" for i in range(3)]) for v in "ab"]
    config, run = RunConfig.checked({**SETTINGS, **PRIVATE, "cohort_size": 6, "rounds": 2}), tmp_path / "run"

    def fails(message: Message) -> bool:
        return message.metadata.message_type == EvaluateRequest.kind and message.content["config"]["round"] == 2

    run_over(vaults, run, config, monkeypatch, fails)
    found = lines(run)
    assert [("eval" in line, "eval_failed" in line) for line in found] == [(True, False), (True, False), (False, True)]
    assert json.loads((run / "private" / "summary.json").read_text())["final"] == {}
