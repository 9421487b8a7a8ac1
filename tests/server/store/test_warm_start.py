"""Weights of another run are taken only where they mean the same."""

from pathlib import Path

import numpy as np
import pytest

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.text.learned import learn
from server.store.checkpoint import Checkpoint
from server.store.run_folder import RunFolder
from server.store.warm_start import initial_weights

WEIGHTS = (np.ones((2, 2), np.float32),)


def run(folder: Path, config: RunConfig) -> Path:
    kept = RunFolder.create(folder, config)
    kept.save_checkpoint(Checkpoint(0, WEIGHTS))
    return folder


def words(tmp_path: Path, name: str, text: str) -> str:
    (tmp_path / name).write_text(learn([text], "words", 50))
    return f"vocabulary=words(file='{tmp_path / name}')"


def test_a_vocabulary_of_the_same_size_does_not_fit(tmp_path: Path) -> None:
    one, other = (
        words(tmp_path, "a.json", "tea tea cake cake milk milk"),
        words(tmp_path, "b.json", "ale ale song song old old"),
    )
    sizes = {RunConfig.load(None, [v]).vocab.size for v in (one, other)}
    assert len(sizes) == 1  # shapes fit, so nothing else would notice
    first = run(tmp_path / "run", RunConfig.load(None, [one]))
    assert [w.tobytes() for w in initial_weights(first, RunConfig.load(None, [one]))] == [WEIGHTS[0].tobytes()]
    kept = str(first / "vocabulary.json")
    for asked in (other, "vocabulary=chars", "vocabulary=private(size=50)"):
        with pytest.raises(ConfigError) as caught:
            initial_weights(first, RunConfig.load(None, [asked]))
        assert "was trained with another vocabulary" in str(caught.value) and kept in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match='use --set "vocabulary=bytes"'):
        initial_weights(run(tmp_path / "bytes", RunConfig.checked({"vocabulary": "bytes"})), RunConfig())


def test_adapters_belong_to_their_preset(tmp_path: Path) -> None:
    def of(digest: str) -> RunConfig:
        return RunConfig.checked({"model": f"gpt2(preset='p', sha256='{digest}')"})

    first = run(tmp_path / "run", of("ab" * 32))
    assert len(initial_weights(first, of("ab" * 32))) == 1
    with pytest.raises(ConfigError, match=r"SHA-256 abababababababab\.\.\., this run's has cdcdcdcdcdcdcdcd"):
        initial_weights(first, of("cd" * 32))
    with pytest.raises(ConfigError, match="use its model, which includes the vocabulary"):
        initial_weights(first, RunConfig())


def test_rotary_positions_take_any_length(tmp_path: Path) -> None:
    def of(seq_len: int, options: str) -> RunConfig:
        return RunConfig.checked({"model": f"transformer({options})", "seq_len": seq_len})

    for options in ("positions='rotary'", "width=8"):
        first = run(tmp_path / options[:5], of(20, options))
        initial_weights(first, of(20, options))
        if "rotary" in options:
            initial_weights(first, of(30, options))
        else:
            with pytest.raises(ConfigError, match="has positions for 20 symbols, not for seq_len=30"):
                initial_weights(first, of(30, options))
