"""What happens if one group is available less often, or if large clients drop out?

The presidents of `minority_voice`, 30 % of the clients, are available in all, half, or 5 % of the rounds. Beside it, on
clients of uneven size: no dropout, dropout at random, and dropout of the same mean rate that rises with size.

    fedlm study participation            # five seeds
    fedlm study participation --quick    # two seeds, a smaller model

4.6 minutes with three seeds. Bits per character of the minority: always available 3.466, in half of the rounds +0.039,
in 5 % +0.128; of all clients, uneven sizes: no dropout 2.962, at random 2.944, by size 3.216 (docs/results.md).
"""

from scenarios.minority_voice import MIX, split
from scenarios.runner.study import SMALL, Case, Figure, Options, Study

QUESTION = (
    "What does it cost a group to be available less often, and what does it cost the model if large clients drop out?"
)
TABLE = ("minority", "bits_per_char", "group_gap", "worst_tenth")


def study(options: Options) -> Study:
    """Returns the grid: availability of a group, and dropout on clients of uneven size."""
    clients, rounds, characters = (20, 15, 6000) if options.quick else (60, 30, 6000)
    group = "sotu" if not options.corpus else options.group
    parts = {"partition": split(options, 0.3, clients, characters)}
    # Dropout by size needs clients of different sizes: a separate population with its own reference condition.
    uneven = {"partition": f"quantity(gini=0.6, clients={clients}, documents={20 * clients})"}
    cases = [Case("always available", parts, "FedAvg")]
    if not options.corpus:
        cases += [
            Case(
                f"minority available {100 * s:g} %", parts, "FedAvg", sampling=f"available(group={group!r}, share={s})"
            )
            for s in (0.5, 0.05)
        ]
    cases += [
        Case("uneven, no dropout", uneven, "FedAvg", grouped=False),
        Case("uneven, dropout 40 %", uneven, "FedAvg", sampling="dropout(rate=0.4, by_size=False)", grouped=False),
        Case("uneven, dropout by size", uneven, "FedAvg", sampling="dropout(rate=0.4)", grouped=False),
    ]
    return Study(
        name="participation",
        question=QUESTION,
        corpus=options.corpus or MIX,
        settings={
            "scrub": "full" if options.corpus else "none",
            **SMALL,
            "rounds": rounds,
            "eval_every": rounds,
        },
        cases=tuple(cases),
        control="always available",
        table=TABLE,
        figures=(Figure("line", "minority"), Figure("line", "bits_per_char")),
        group=options.group if options.corpus else "source",
        minority="" if options.corpus else "sotu",
        limits=(
            f"The model has one layer of 64 units and {rounds} rounds of 8 of {clients} clients of 6,000 characters.",
            "The uneven conditions have a population of their own: compare them with 'uneven, no dropout'.",
        ),
    )
