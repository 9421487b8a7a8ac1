"""The method of a study in words: what is constant by its value, what differs between cases said to be varied."""

from typing import Any

import pytest

from scenarios.runner.catalog import build_study, scenario_names
from scenarios.runner.design import Case, Options
from scenarios.runner.wording import method, minority_named
from tests.support.made_study import made, record

VARIED = [
    ("local_epochs", (1, 5), "trained a varied number of local epochs with"),
    ("rounds", (2, 3), "for a varied number of rounds of 3 clients."),
    ("cohort_size", (2, 3), "for 2 rounds of a varied number of clients."),
    ("batch_size", (2, 4), "at a varied batch size."),
    ("vocabulary", ("chars", "chars(placeholders=0)"), "(varied vocabularies, windows"),
    ("seq_len", (20, 30), ", windows of varied lengths, scrubbing"),
    ("scrub", ("none", "full"), ", varied scrubbing) for"),
    ("model", ("lstm(units=8)", "gru(units=8)"), "We trained the models of the design table on"),
    ("client_optimizer", ("sgd(learning_rate=1.0)", "adam"), "with the optimizer of the design table at batch"),
    ("local_steps", (3, 5), "trained a varied number of steps a round, whatever"),
    ("local_steps", (0, 5), "trained the steps or epochs of the design table with"),
]


@pytest.mark.parametrize(("key", "values", "says"), VARIED)
def test_what_differs_is_said_to_be_varied(key: str, values: tuple[Any, Any], says: str) -> None:
    cases = (Case("even", {key: values[0]}), Case("skewed", {key: values[1]}))
    assert says in method(made(cases=cases), range(3), 0)


def test_what_all_cases_set_alike_is_constant() -> None:
    cases = tuple(Case(c, {"local_epochs": 1, "rounds": 1, "cohort_size": 1}) for c in ("even", "skewed"))
    said = method(made(cases=cases), range(3), 0)
    assert "varied" not in said and "for 1 round of 1 client. Each client trained 1 local epoch with" in said
    assert "There are 2 cases (2 conditions, 1 algorithm), each with 3 seeds (6 runs, 0 failed)" in said


@pytest.mark.parametrize("name", scenario_names())
def test_no_study_says_varied_in_the_place_of_a_value(name: str) -> None:
    said = method(build_study(name, Options(quick=True)), range(3), 0)
    for broken in (
        "trained varied",
        "of varied tokens",
        "size varied",
        "scrubbing varied",
        "vocabulary varied",
        "1 rounds",
    ):
        assert broken not in said


def test_the_minority_is_named_where_its_figure_is_that_of_one_group() -> None:
    case = Case("even")
    first = record(case, 0, minority=2.0, **{"group:Con": 2.0, "group:all others": 2.0})
    second = record(case, 1, minority=2.5, **{"group:Con": 2.5, "group:all others": 2.1})
    assert minority_named([first, second]) == " The minority is the group Con."
    assert minority_named([first]) == "" == minority_named([]) == minority_named([record(case, 0, bits_per_char=2.0)])
