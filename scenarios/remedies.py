"""What helps against imbalance, skew and the neglect of a minority, and at what cost?

Nine remedies and plain FedAvg on the worst conditions of quantity_imbalance, label_skew and minority_voice: quality against
fairness in one figure with its Pareto front. Agnostic and group-balanced sampling need groups, so they have one condition.

    fedlm study remedies            # ten seeds; under two hours
    fedlm study remedies --quick    # two seeds, one condition, a smaller model

Three seeds took about an hour on two busy cores. Bits per character of all clients and of the worst tenth, at
10 % minority, Gini 0.8 and topics 0.1:

    FedAvg           3.64 3.81    2.85 6.33    3.61 4.49
    FedAvgM          3.33 3.56    2.89 7.16    3.38 4.28
    capped weights   3.64 3.81    2.97 6.06    3.64 4.48
    group-balanced   3.73 3.90, the minority's 3.75 to 3.64
"""

from scenarios.minority_voice import MIX, group_of
from scenarios.runner.study import SMALL, Case, Contrast, Figure, Options, Study

QUESTION = "Which remedy serves the worst-served clients better, and what does it cost the others?"
TABLE = ("bits_per_char", "worst_tenth", "client_deviation", "minority", "minority_gap")
REMEDIES: dict[str, dict[str, object]] = {
    "FedAvg": {},
    "FedProx": {"strategy": "FedProx(proximal_mu=0.01)"},
    "FedAvgM": {"strategy": "FedAvgM(server_momentum=0.7)"},
    "FedAdam": {"strategy": "FedAdam(eta=0.01)"},
    "FedYogi": {"strategy": "FedYogi(eta=0.01)"},
    "q-FedAvg": {"strategy": "QFedAvg(client_learning_rate=1.0, q=0.2)"},
    "uniform weights": {"weighting": "uniform"},
    "capped weights": {"weighting": "capped(tokens=5000)"},
}
SAMPLING = {"agnostic": "agnostic(step=2.0)", "group-balanced": "balanced"}


def study(options: Options) -> Study:
    """Returns the grid: condition by remedy."""
    clients, rounds = (20, 15) if options.quick else (50, 20)
    by, group = (options.group if options.corpus else "source"), group_of(options)
    minority = {"partition": f"minority(by={by!r}, group={group!r}, share=0.1, clients={clients}, characters=6000)"}
    conditions: dict[str, dict[str, str]] = {"minority 10 %": minority}
    if not options.quick:
        label = options.group or "source"
        conditions["Gini 0.8"] = {"partition": f"quantity(gini=0.8, clients={clients}, documents=900)"}
        conditions["topics 0.1"] = {"partition": f"topics(by={label!r}, alpha=0.1, clients={clients}, documents=18)"}
    cases = [
        Case(name, {**settings, **remedy}, algorithm, grouped=settings is minority)
        for name, settings in conditions.items()
        for algorithm, remedy in REMEDIES.items()  # groups exist in the first condition only
    ]
    cases += [Case("minority 10 %", minority, name, sampling=sampling) for name, sampling in SAMPLING.items()]
    return Study(
        name="remedies",
        question=QUESTION,
        corpus=options.corpus or MIX,
        settings={
            "scrub": "full" if options.corpus else "none",
            **SMALL,
            "rounds": rounds,
            "eval_every": 5,  # agnostic sampling reads the last evaluation
        },
        cases=tuple(cases),
        control="",
        baseline="FedAvg",
        contrasts=(
            Contrast("worst_tenth", "minority 10 %", "minority 10 %", "FedAvgM", "FedAvg"),
            Contrast("minority", "minority 10 %", "minority 10 %", "group-balanced", "FedAvg"),
        ),
        table=TABLE,
        figures=(Figure("trade", "bits_per_char", "worst_tenth"), Figure("trade", "bits_per_char", "minority")),
        group=options.group if options.corpus else "source",
        minority="" if options.corpus else "sotu",
        limits=(
            f"The model has one layer of 64 units and {rounds} rounds of 8 of {clients} clients; more rounds may change the order.",
            "Each remedy has one setting, which was not tuned; tuning may change the order.",
        ),
    )
