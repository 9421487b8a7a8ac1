"""A model of one's own, in one file outside fedlm: found by its import path, checked like fedlm's, trained end to end."""

import ast
import json
from pathlib import Path

import pytest

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from fedlm.models.catalog import check_model, has_positions, is_pretrained, model_about, model_names, model_options
from fedlm.spec import Spec, parse_spec
from tests.support.models import TOY
from tests.support.running import SMALL, fedlm, simulate


def test_options_are_read_from_the_source() -> None:
    assert model_options(TOY) == {"units": 16, "dropout": 0.0}
    assert not is_pretrained(TOY) and not model_about(TOY).is_masked
    spec = check_model(f"{TOY}(units=8)")
    assert spec == Spec(TOY, {"units": 8}) and str(spec) == f"{TOY}(units=8)"
    config = RunConfig.checked({"model": f"{TOY}(units=8)"})
    assert RunConfig.checked(json.loads(config.to_settings())).spec("model") == spec


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (f"{TOY}(layers=2)", "has no option 'layers'; its options are: units, dropout"),
        (f"{TOY}(units=0)", "is below 1"),
        (f"{TOY}(units='x')", "is not a whole number"),
        ("no.such.module:build", "There is no module 'no.such.module'"),
        ("tests.support.toys.toy_model:other", "toy_model.py defines no function other"),
        ("os:system", "There is no module .os."),
        ("subprocess:run(args='true')", "must take vocab_size and seq_len by keyword"),
        ("tests.support.toys.toy_model", "There is no model 'tests.support.toys.toy_model'"),
        (":build", "is not a name with options"),
        ("a:b:c", "is not a name with options"),
    ],
)
def test_wrong_paths_are_one_sentence(spec: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        check_model(spec)
    assert "\n" not in str(caught.value)


def test_a_spec_splits_a_module_only_in_front() -> None:
    assert parse_spec("gpt2(preset='kaggle://a/b')") == Spec("gpt2", {"preset": "kaggle://a/b"})
    assert parse_spec("a.b:c(x=1)") == Spec("a.b:c", {"x": 1})


def test_weights_that_fit_one_length_only_are_known_by_the_models_file() -> None:
    assert has_positions(parse_spec("transformer(width=8)"))
    assert not has_positions(parse_spec("transformer(positions='rotary')"))
    assert not has_positions(parse_spec("lstm")) and not has_positions(parse_spec(TOY))


@pytest.mark.slow
@pytest.mark.flower
def test_a_toy_model_runs_end_to_end(tmp_path: Path) -> None:
    settings = [*SMALL[:-1], f"model={TOY}(units=8, dropout=0.1)", "client_optimizer=adam(learning_rate=0.01)"]
    one = simulate("one", tmp_path, "--workers", 1, settings=settings)
    two = simulate("two", tmp_path, "--workers", 2, settings=settings)
    assert one["weights_sha256"] == two["weights_sha256"] and one["final"] == two["final"]
    assert one["config"]["model"] == f"{TOY}(units=8, dropout=0.1)"
    done = fedlm("generate", "one", "--prompt", "the", "--length", 5, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("the"), done.stderr


def test_no_file_outside_the_folder_compares_a_models_name() -> None:
    root, names, found = Path(__file__).parents[2], set(model_names()), []
    for top in ("fedlm", "clients", "server", "scenarios", "benchmarks"):
        for file in (root / top).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Compare | ast.MatchValue):
                    words = {c.value for c in ast.walk(node) if isinstance(c, ast.Constant)}
                    found += [f"{file.relative_to(root)}:{node.lineno}" for word in names & words]
    assert [place for place in found if not place.startswith("fedlm/models/")] == []
