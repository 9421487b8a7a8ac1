"""What does the global model cost a minority that writes differently, and when is local-only training better for it?

Roles of Shakespeare's plays against presidents' addresses, in clients of equal size. The presidents' share of the clients that
train falls from half to 5 %; their training sets are nested. Figures are over 20 further clients of each group, the same ones
under every share. A model that the minority trains alone is its ceiling. With your own data (--corpus and --group KEY) the
minority is the value of KEY with the second most text.

    fedlm study minority_voice            # ten seeds
    fedlm study minority_voice --quick    # two seeds, fewer and smaller clients, a smaller model
"""

from fedlm.errors import ConfigError
from scenarios.runner.study import Case, Contrast, Figure, Options, Study, Trend, trained

REGISTERS = "Two registers of different centuries differ more than most groups of users of one service."
QUESTION = (
    "What does the global model cost a minority that writes differently, and when is local-only training better for it?"
)
TABLE = (
    "minority",
    "minority_personal_gap",
    "minority_worse_than_local",
    "minority_gap",
    "bits_per_char",
    "above_ngram",
)
MIX = "mix(corpora=['shakespeare', 'sotu'])"
TESTS, ALONE = 20, "minority alone"


def group_of(options: Options) -> str:
    """Returns the minority of the built-in corpora; empty for the user's own, whose second largest group it is."""
    if options.corpus and not options.group:
        raise ConfigError("A study of groups on your own corpus needs --group KEY, the label that defines them.")
    return "" if options.corpus else "sotu"


def halves(options: Options, clients: int, characters: int) -> str:
    """Returns the partition into so many clients of each side, and the test clients besides."""
    by, both = options.group if options.corpus else "source", 2 * (clients + TESTS)
    return f"minority(by={by!r}, group={group_of(options)!r}, share=0.5, clients={both}, characters={characters})"


def study(options: Options) -> Study:
    """Returns the grid: the minority's share of the clients that train."""
    clients, characters, rounds, steps = (20, 4000, 40, 20) if options.quick else (60, 20_000, 280, 40)
    characters = min(characters, 6000) if options.corpus else characters
    shares = (0.5, 0.1) if options.quick else (0.5, 0.2, 0.1, 0.05)
    mixture = f"mixture(clients={clients}, share={{}})"
    cases = [Case(f"minority {100 * s:g} %", x=s, sampling=mixture.format(s)) for s in shares]
    cases.append(Case(ALONE, algorithm="FedAvg of the minority", sampling=mixture.format(1.0)))
    least = f"minority {100 * shares[-1]:g} %"
    return Study(
        name="minority_voice",
        question=QUESTION,
        corpus=options.corpus or MIX,
        settings={
            "scrub": "full" if options.corpus else "none",
            "partition": halves(options, clients, characters),
            "holdout_fraction": 0.2,
            **trained(rounds, steps, quick=options.quick),
        },
        cases=tuple(cases),
        control="minority 50 %",
        contrasts=(Trend("minority"), Contrast("minority", least, ALONE, "FedAvg", "FedAvg of the minority")),
        table=TABLE,
        figures=(Figure("line", "minority"), Figure("line", "minority_personal_gap"), Figure("line", "minority_gap")),
        x_label="share of the minority among the clients that train",
        group=options.group if options.corpus else "source",
        minority=group_of(options),
        test_clients=TESTS,
        client_symbols=500 if options.quick or options.corpus else 2000,
        local_passes=4 if options.quick else 15,
        local_clients=10,
        limits=(
            options.about_groups(REGISTERS),
            f"The model has one layer; {rounds} rounds of 4 of {clients} clients of {characters:,} characters each.",
            "The minority's ceiling is a model that as many clients, all of the minority, train in as many steps.",
            "Local-only models are those of 10 test clients of each group; they have a fixed number of passes, not the best one.",
        ),
    )
