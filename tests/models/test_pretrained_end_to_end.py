"""Federated adapters of GPT-2 and BERT through whole runs."""

import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.support.presets import WIDTH, save_bert, save_gpt2
from tests.support.running import SMALL, fedlm, simulate

pytestmark = [pytest.mark.slow, pytest.mark.flower]
SHORT = [*SMALL[:-1], "seq_len=24", "client_optimizer=adam(learning_rate=0.01)"]


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_same_bits_with_one_worker_and_two(kind: str, tmp_path: Path) -> None:
    (save_gpt2 if kind == "gpt2" else save_bert)(tmp_path / "mine")
    settings = [*SHORT, f"model={kind}(preset='mine', lora_rank=2)"]
    one = simulate("one", tmp_path, "--workers", 1, settings=settings)
    two = simulate("two", tmp_path, "--workers", 2, settings=settings)
    assert one["weights_sha256"] == two["weights_sha256"] and one["final"] == two["final"]
    kept = load_file(tmp_path / "one" / "checkpoint" / "latest.safetensors")
    assert [v.shape for k, v in sorted(kept.items()) if k.startswith("weights.")] == [(WIDTH, 2), (2, WIDTH)] * 2
    words = ["generate", "one", "--prompt", "the", "--length", 5]
    done = fedlm(*words, cwd=tmp_path)
    if kind == "bert":
        assert done.returncode == 2 and "cannot continue a text" in done.stderr
    else:
        assert done.returncode == 0 and done.stdout.startswith("the"), done.stderr
        save_gpt2(tmp_path / "mine", seed=2)
        command = [sys.executable, "-m", "fedlm", *map(str, words)]  # a process reads a preset once
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and "every node must hold the same frozen weights" in done.stderr
