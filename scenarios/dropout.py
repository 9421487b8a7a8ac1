"""What does it cost the model if large clients drop out?

Clients of uneven size (Gini 0.6): nobody drops out of a round, each client does with a probability of 40 %, or with a
probability of the same mean that rises with its size.

    fedlm study dropout            # ten seeds
    fedlm study dropout --quick    # two seeds, less text, a smaller model
"""

from scenarios.runner.study import Case, Contrast, Figure, Options, Study, trained

QUESTION = "What does it cost the model if clients drop out, at random or the large ones first?"
TABLE = ("bits_per_char", "above_ngram", "accuracy", "worst_tenth", "small_clients")
RANDOM, BY_SIZE = "40 % drop out at random", "40 % drop out, large ones first"


def study(options: Options) -> Study:
    """Returns the grid: who drops out."""
    clients, documents, rounds, steps = (20, 1600, 40, 20) if options.quick else (40, 12_000, 280, 40)
    return Study(
        name="dropout",
        question=QUESTION,
        corpus=options.corpus or "shakespeare",
        settings={
            "scrub": "full" if options.corpus else "none",
            "partition": f"quantity(gini=0.6, clients={clients}, documents={documents})",
            **trained(rounds, steps, quick=options.quick),
        },
        cases=(
            Case("nobody drops out"),
            Case(RANDOM, sampling="dropout(rate=0.4, by_size=False)"),
            Case(BY_SIZE, sampling="dropout(rate=0.4)"),
        ),
        control="nobody drops out",
        contrasts=(
            Contrast("bits_per_char", RANDOM, "nobody drops out"),
            Contrast("bits_per_char", BY_SIZE, RANDOM),
        ),
        table=TABLE,
        figures=(Figure("line", "bits_per_char"),),
        x_label="who drops out",
        limits=(
            f"The model has one layer; {rounds} rounds of 4 of {clients} clients, {steps} steps of each.",
            "Documents are dealt at random: large clients write about the same things as small ones.",
            "Who drops out leaves a place to another client, so every condition trains on as many symbols.",
        ),
    )
