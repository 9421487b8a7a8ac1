"""A preset whose weights do not open is one sentence; nothing of Keras' own reaches the user."""

import json
import shutil
from pathlib import Path

import pytest

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.models.registry import build_model
from tests.support.presets import WIDTH, save_bert, save_gpt2

pytestmark = pytest.mark.slow


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])


def garbage(file: Path) -> None:
    file.write_bytes(b"these are no weights")


def widen(file: Path) -> None:
    config = json.loads((file.parent / "config.json").read_text())
    config["config"]["hidden_dim"] = 2 * WIDTH
    (file.parent / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("presets")
    return {"gpt2": save_gpt2(folder / "g"), "bert": save_bert(folder / "b")}


@pytest.mark.parametrize("damage", [cut, garbage, widen])
@pytest.mark.parametrize(
    ("kind", "file"), [("gpt2", "model.weights.h5"), ("bert", "model.weights.h5"), ("bert", "task.weights.h5")]
)
def test_weights_that_do_not_open(
    kind: str, file: str, damage: object, presets: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(presets[kind], tmp_path / "mine")
    damage(tmp_path / "mine" / file)  # type: ignore[operator]
    config = RunConfig.checked({"model": f"{kind}(preset={str(tmp_path / 'mine')!r})", "seq_len": 8})
    with pytest.raises(ConfigError, match="The weights of the preset mine do not open, or do not fit") as caught:
        build_model(config.model, config.vocab.size, 8)
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)
