"""A configuration is written as it is read; a mistake is one sentence; a renamed key works once more."""

import tomllib
import warnings
from pathlib import Path

import pytest

from fedlm import config_values
from fedlm.config import RunConfig
from fedlm.errors import ConfigError, FedLMWarning, check_number
from fedlm.spec import parse_spec
from tests.support.running import fedlm


@pytest.mark.parametrize("text", ["plain", "quo\"te \\ 'n", "snow ☃ and beyond \U0001f600", "del \x7f tab \t", "a\nb"])
def test_any_text_comes_back(tmp_path: Path, text: str) -> None:
    config = RunConfig.checked({"partition": text, "l2": 1e-300, "seed": 2**62})
    (tmp_path / "c.toml").write_text(config.to_toml(), encoding="utf-8")
    assert RunConfig.load(tmp_path / "c.toml") == config


def test_toml_has_every_key_in_the_order_of_the_class() -> None:
    keys = [name for name, info in RunConfig.model_fields.items() if not info.exclude]
    assert list(tomllib.loads(RunConfig().to_toml())) == keys


def test_a_file_of_an_older_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text('rounds = 3\nclient_optimizer = "sgd(learning_rate=0.5)"\ndelta = 1e-05\n')
    config = RunConfig.load(tmp_path / "old.toml", ["cohort-size=7"])
    assert (config.rounds, config.cohort_size, config.delta) == (3, 7, 1e-5)


@pytest.mark.parametrize(
    "value", ["timeout=inf", "timeout=1e10", "timeout=nan", "epsilon_budget=inf", "clip_norm=nan", "l2=inf"]
)
def test_numbers_that_are_none_are_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=value.split("=")[0]):
        RunConfig.load(None, [value])


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("rounds=abc", "Invalid value for rounds: 'abc' is not a whole number."),
        ("rounds=1.5", "Invalid value for rounds: '1.5' is not a whole number."),
        ("rounds=-1", "Invalid value for rounds: '-1' is below 0."),
        ("l2=x", "Invalid value for l2: 'x' is not a number."),
        ("l2=nan", "Invalid value for l2: 'nan' is not a finite number."),
        ("drift=perhaps", "Invalid value for drift: 'perhaps' is neither true nor false."),
        ("timeout=0", "Invalid value for timeout: '0' is not above 0.0."),
        ("quorum=2", "Invalid value for quorum: '2' is above 1.0."),
        ("delta=1", "Invalid value for delta: '1' is not below 1.0."),
        ("weighting=mine", "Invalid value for weighting: 'mine' is none of tokens, uniform and capped(tokens=N)."),
        ("weighting=capped(tokens=3, x=1)", "Invalid value for weighting"),
        ("client_optimizer=rmsprop", "There is no client optimizer 'rmsprop': use sgd, adam, adagrad."),
        ("client_optimizer=sgd(rate=1)", "sgd has no option 'rate'"),
        ("client_optimizer=sgd(momentum='x')", "'x' is not a number >= 0."),
        ("roundz=3", "There is no configuration key 'roundz'; did you mean rounds? fedlm config lists all keys."),
        ("nothing_like_it=3", "There is no configuration key 'nothing_like_it'; fedlm config lists all keys."),
    ],
)
def test_a_mistake_is_one_sentence(setting: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        RunConfig.load(None, [setting])
    assert sentence in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("values", [[], None, "rounds", 3, [["rounds", 3]]])
def test_remote_values_that_are_no_mapping_are_refused(values: object) -> None:
    with pytest.raises(ConfigError, match="is a mapping"):
        RunConfig.checked(values)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["self", "cls", "__init__", "model_config", "/", "", "rounds "])
def test_no_key_but_those_of_the_class_is_accepted(key: str) -> None:
    with pytest.raises(ConfigError, match="There is no configuration key"):
        RunConfig.checked({key: 1})


def test_a_long_invalid_value_is_cut() -> None:
    with pytest.raises(ConfigError) as error:
        RunConfig.checked({"rounds": "x" * 10_000})
    assert len(str(error.value)) < 200
    with pytest.raises(ConfigError) as error:
        RunConfig.checked({"rounds" * 100_000: 1})  # in no time: it is not compared with every key
    assert len(str(error.value)) < 200


def test_the_constructor_gives_the_same_sentence() -> None:
    with pytest.raises(ConfigError, match="Invalid value for rounds: 'abc' is not a whole number"):
        RunConfig(rounds="abc")  # type: ignore[arg-type]


def test_a_configuration_is_a_base_for_another_and_keeps_a_learned_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "public.txt").write_text("to be or not to be\n\nthat is the question")
    made = fedlm("vocabulary", "public.txt", "v.json", "--kind", "words", "--size", 200, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    (tmp_path / "c.toml").write_text("vocabulary = \"words(file='v.json')\"\nrounds = 4\n")
    first = RunConfig.load(tmp_path / "c.toml")
    second = RunConfig.load(first, ["cohort_size=2"])
    assert (second.rounds, second.cohort_size) == (4, 2)
    assert second.vocabulary_text == first.vocabulary_text != ""
    assert RunConfig.load(first, ["vocabulary=chars"]).vocabulary_text == ""


def test_a_renamed_key_works_with_one_warning_and_not_beside_its_new_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(config_values.RENAMED, "clients_per_round", "cohort_size")
    with pytest.warns(FedLMWarning, match="clients_per_round is now called cohort_size") as told:
        config = RunConfig.load(None, ["clients_per_round=3"])
    assert config.cohort_size == 3 and len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert RunConfig.load(config).cohort_size == 3  # what is written has the new name
    with pytest.raises(ConfigError, match="old name of cohort_size"):
        RunConfig.load(None, ["clients_per_round=3", "cohort_size=4"])


def test_every_key_is_described() -> None:
    for name, info in RunConfig.model_fields.items():
        assert info.description, name
        assert not info.description.endswith("."), name  # docs and help add it where they need one


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "NaN", "Infinity", "1e999", "-1e999", "[0.5, nan]"])
def test_a_number_in_a_spec_that_is_not_finite_is_named(number: str) -> None:
    text = f"sgd(learning_rate={number})"
    with pytest.raises(ConfigError) as error:
        parse_spec(text)
    assert str(error.value) == f"Invalid value for learning_rate in {text!r}: {number} is not a finite number."


@pytest.mark.parametrize("text", ["sgd(nan)", "sgd(x=nano)", "sgd(x=f(1))", "sgd(x=1", "sgd(**{})"])
def test_what_is_no_spec_is_still_wrong_syntax(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a name with options"):
        parse_spec(text)


@pytest.mark.parametrize(
    ("value", "bounds", "right"),
    [(0, {"ge": 0}, True), (0, {"gt": 0}, False), (1, {"le": 1}, True), (1, {"lt": 1}, False), (2.5, {}, True)]
    + [(value, {}, False) for value in (float("nan"), float("inf"), -float("inf"))]
    + [(-1e-9, {"ge": 0, "le": 1}, False), (0.5, {"gt": 0, "lt": 1}, True), (1 + 1e-9, {"ge": 0, "le": 1}, False)],
)
def test_a_number_within_bounds(value: float, bounds: dict[str, float], right: bool) -> None:
    if right:
        check_number("x", value, **bounds)
    else:
        with pytest.raises(ConfigError, match=r"^Invalid value for x: .* is not a (finite )?number"):
            check_number("x", value, **bounds)
