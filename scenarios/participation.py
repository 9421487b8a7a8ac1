"""What does it cost a group to be available less often?

The presidents of `minority_voice`, 30 % of the clients that train, are available in all, half, or 5 % of the rounds. Figures
are over 20 clients of each group that never train.

    fedlm study participation            # ten seeds
    fedlm study participation --quick    # two seeds, smaller clients, a smaller model
"""

from scenarios.minority_voice import MIX, REGISTERS, TESTS, group_of, halves
from scenarios.runner.study import Case, Contrast, Figure, Options, Study, trained

QUESTION = "What does it cost a group to be available less often?"
TABLE = ("minority", "minority_gap", "bits_per_char", "worst_tenth", "above_ngram")


def study(options: Options) -> Study:
    """Returns the grid: availability of a group."""
    clients, characters, rounds, steps = (20, 4000, 40, 20) if options.quick else (60, 20_000, 280, 40)
    characters = min(characters, 6000) if options.corpus else characters
    names = {1.0: "always available", 0.5: "available in half of the rounds", 0.05: "available in 5 % of the rounds"}
    rule = f"mixture(share=0.3, clients={clients}, available={{}})"
    return Study(
        name="participation",
        question=QUESTION,
        corpus=options.corpus or MIX,
        settings={
            "scrub": "full" if options.corpus else "none",
            "partition": halves(options, clients, characters),
            "holdout_fraction": 0.2,
            **trained(rounds, steps, quick=options.quick),
        },
        cases=tuple(Case(name, sampling=rule.format(share)) for share, name in names.items()),
        control=names[1.0],
        contrasts=tuple(Contrast("minority", names[share], names[1.0]) for share in (0.5, 0.05)),
        table=TABLE,
        figures=(Figure("line", "minority"), Figure("line", "bits_per_char")),
        x_label="availability of the minority",
        group=options.group if options.corpus else "source",
        minority=group_of(options),
        test_clients=TESTS,
        client_symbols=500 if options.quick or options.corpus else 2000,
        limits=(
            options.about_groups(REGISTERS),
            f"The model has one layer; {rounds} rounds of 4 of {clients} clients of {characters:,} characters each.",
            "A group that is not available leaves its places in a round to the others: the model trains as long without it.",
            "Availability is drawn for each client and round; real groups are away together, at night or in holidays.",
        ),
    )
