"""A grid becomes settings, by hand; whatever is wrong with it is one sentence."""

from typing import Any

import pytest

from fedlm.config import RunConfig
from fedlm.errors import ConfigError
from scenarios.tuning.axes import option_value, read_axes, written
from scenarios.tuning.grid import MOST_SETTINGS, Grid, build_grid

BASE = RunConfig.checked({"rounds": 3, "client_optimizer": "sgd(learning_rate=2.0, momentum=0.5)"})


def grid(*texts: str, per: str = "", base: RunConfig = BASE) -> Grid:
    return build_grid(base, read_axes(texts), per)


def chosen(found: Grid, *keys: str) -> list[tuple[Any, ...]]:
    return [tuple(getattr(s.config, key) for key in keys) for s in found.settings]


def test_every_combination_is_one_setting_and_an_option_keeps_the_others_of_its_spec() -> None:
    found = grid("client-optimizer.learning-rate=0.3,1", "local_epochs=1,2")
    rates = ["sgd(learning_rate=0.3, momentum=0.5)", "sgd(learning_rate=1, momentum=0.5)"]
    assert chosen(found, "client_optimizer", "local_epochs") == [(rate, n) for rate in rates for n in (1, 2)]
    assert [s.words for s in found.settings][1] == "client_optimizer.learning_rate=0.3, local_epochs=2"
    assert (found.methods, found.left_out) == (("",), ())
    assert all(s.config.rounds == 3 for s in found.settings)


def test_an_option_that_a_method_does_not_have_is_left_out_for_it_and_told() -> None:
    found = grid("strategy=FedAvg,FedAdam,FedAvgM", "strategy.eta=0.01,0.1", per="strategy")
    assert chosen(found, "strategy") == [("FedAvg",), ("FedAdam(eta=0.01)",), ("FedAdam(eta=0.1)",), ("FedAvgM",)]
    assert [s.method for s in found.settings] == ["FedAvg", "FedAdam", "FedAdam", "FedAvgM"]
    assert found.left_out == tuple(
        f"{name} has no option eta, so strategy.eta is left out for it." for name in ("FedAvg", "FedAvgM")
    )


@pytest.mark.parametrize(
    ("axes", "settings"),
    [
        (("weighting=tokens,capped", "weighting.tokens=100,200"), 3),
        (("algorithm=fedavg,fedprox", "algorithm.mu=0.1,1"), 3),
        (("client_optimizer=sgd,adam", "client_optimizer.momentum=0,0.9", "client_optimizer.beta_1=0.8,0.9"), 4),
        (("model=lstm(units=8),rnn(units=8)", "model.embedding=4,8"), 4),
        (("client_schedule=constant,cosine", "client_schedule.rounds=5,10"), 3),
    ],
)
def test_options_are_left_out_for_every_kind_of_plugin(axes: tuple[str, ...], settings: int) -> None:
    found = grid(*axes)
    assert len(found.settings) == len({s.words for s in found.settings}) == settings


def test_values_with_brackets_and_quotes_are_one_value() -> None:
    assert read_axes(["strategy=FedAvg,FedAdam(eta=0.1, tau=0.01)"])[0].values == (
        "FedAvg",
        "FedAdam(eta=0.1, tau=0.01)",
    )
    assert read_axes(["model.mode='a, b',c"])[0].values == ("'a, b'", "c")
    assert option_value("x.y", "'a, b'") == "a, b" and option_value("x.y", "False") is False


def test_python_values_are_written_as_the_command_line_has_them() -> None:
    grids = {"client_optimizer.learning_rate": [0.3, 1, 1e-05], "strategy": ["FedAvg", "FedAdam(eta=0.1, tau=0.01)"]}
    rates, strategies = read_axes(written(grids))
    assert list(rates.numbers.values()) == [0.3, 1.0, 1e-05] and strategies.values == tuple(grids["strategy"])


WRONG = [
    ([], "", "A search needs a grid"),
    (["local_epochs"], "", "does not have the form KEY=VALUE,VALUE"),
    (["=1,2"], "", "does not have the form"),
    (["local_epochs="], "", "has an empty value"),
    (["local_epochs=1,,2"], "", "has an empty value"),
    (["local_epochs=1"], "", "has one value"),
    (["local_epochs=1,2,1"], "", "has the value 1 twice"),
    (["client_optimizer.learning_rate=1,1.0"], "", "has the value 1.0 twice"),
    (["strategy=FedAdam(eta=1),FedAdam( eta = 1 )"], "", "twice"),
    (["local_epochs=1,2", "local-epochs=3,4"], "", "names local_epochs twice"),
    (["local_epoch=1,2"], "", "did you mean local_epochs"),
    (["vocabulary_text=a,b"], "", "is not a key that you can set"),
    (["rounds=1,2"], "", "rounds cannot be tuned: it is the budget"),
    (["seed=1,2"], "", "seed cannot be tuned"),
    (["partition.alpha=1,2"], "", "partition cannot be tuned: it changes the text"),
    (["workers=1,2"], "", "does not change the model"),
    (["local_epochs.x=1,2"], "", "local_epochs has no options"),
    (["local_epochs=1,x"], "", "'x' is not a whole number"),
    (["client_optimizer.rate=1,2"], "", "sgd has no option 'rate'"),
    (["client_optimizer.learning_rate=-1,2"], "", "-1 is not a number >= 0"),
    (["client_optimizer.learning_rate=nan,2"], "", "'nan' is not a plain, finite value"),
    (["client_optimizer.learning_rate=1e999,2"], "", "is not a plain, finite value"),
    (["client_optimizer.learning_rate=1,f()"], "", "is not a plain, finite value"),
    (["client_optimizer.learning_rate='a,1"], "", "has one value"),
    (["strategy.eta=0.1,1"], "", "FedAvg has no option 'eta'"),
    (["strategy=FedAvg,FedAdam", "strategy.etta=0.1,1"], "", "has no option 'etta'"),
    (["strategy=FedAvg,Nope"], "", "The strategy 'Nope' is not supported"),
    (["strategy=FedAvg,FedAdam(eta=1)", "strategy.eta=0.1,1"], "", "sets eta, which --grid strategy.eta varies"),
    (["local_epochs=1,2"], "strategy", "--per strategy names nothing of the grid: local_epochs"),
    ([f"local_epochs={','.join(map(str, range(1, MOST_SETTINGS + 2)))}"], "", "1,001 settings"),
]


@pytest.mark.parametrize(("texts", "per", "says"), WRONG)
def test_what_is_wrong_with_a_grid_is_one_sentence(texts: list[str], per: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        grid(*texts, per=per)
    assert says in str(caught.value) and "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_grid_that_would_never_be_listed_is_refused_at_once() -> None:
    axes = [
        f"{key}={','.join(str(n) for n in range(1, 101))}"
        for key in ("local_epochs", "batch_size", "seq_len", "cohort_size")
    ]
    with pytest.raises(ConfigError, match="The grid has 100,000,000 settings"):
        grid(*axes)
