"""What does a model that learned from old text cost those who write today?

Presidents' annual addresses in clients of one decade each. As many clients train for as many steps, from decades that end
ever earlier: right before the test decade, fifty years before, a century before. Figures are over clients of the 2010s.

    fedlm study time_drift            # ten seeds
    fedlm study time_drift --quick    # two seeds, less text, a smaller model
"""

from fedlm.errors import ConfigError
from scenarios.runner.study import Case, Contrast, Figure, Options, Study, Trend, trained

QUESTION = "What does it cost the writers of today if the model was trained on the text of earlier decades?"
TABLE = ("minority", "above_ngram", "accuracy")
TODAY = 2010
SPANS = {0: (1950, 2000), 50: (1900, 1950), 100: (1850, 1900), 160: (1790, 1840)}
"""Years before today at which the training text ends, and its first and last decade."""


def study(options: Options) -> Study:
    """Returns the grid: the age of the training text."""
    if options.corpus:
        raise ConfigError("The study time_drift has its own corpus, which spans two centuries: leave out --corpus.")
    clients, characters, rounds, steps = (12, 6000, 40, 20) if options.quick else (60, 20_000, 280, 40)
    cases = []
    for age, (first, last) in SPANS.items():
        decades = [f"{year}s" for year in range(first, last + 10, 10)]
        name = f"{decades[0]} to {decades[-1]}"
        cases.append(Case(name, x=age, sampling=f"only(groups={decades}, clients={clients})"))
    return Study(
        name="time_drift",
        question=QUESTION,
        corpus="sotu",
        settings={
            "scrub": "none",
            "partition": f"within(by='decade', characters={characters})",
            "holdout_fraction": 0.2,
            **trained(rounds, steps, quick=options.quick),
        },
        cases=tuple(cases),
        control=cases[0].condition,
        contrasts=(Trend("minority"), Contrast("minority", cases[1].condition, cases[0].condition)),
        table=TABLE,
        figures=(Figure("line", "minority"),),
        x_label="years between the end of the training text and the test text",
        group="decade",
        minority=f"{TODAY}s",
        test_clients=4,
        client_symbols=500 if options.quick else 2000,
        limits=(
            "One kind of text, whose form changed too: addresses were written until 1913 and spoken since.",
            f"The model has one layer; {rounds} rounds of 4 of {clients} clients of {characters:,} characters each.",
            "The test text is that of four clients of the 2010s.",
        ),
    )
