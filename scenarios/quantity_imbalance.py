"""What does it cost when few clients hold most of the text?

The same text is dealt to the same number of clients, in sizes from even to Gini 0.9. Every client takes the same number of
steps on the same number of symbols in each round, and counts by its text or like any other. A centralised model is the ceiling.

    fedlm study quantity_imbalance            # ten seeds
    fedlm study quantity_imbalance --quick    # two seeds, three sizes, a smaller model
"""

from scenarios.runner.study import Case, Contrast, Figure, Options, Study, Trend, trained

QUESTION = "What does it cost the model when few clients hold most of the text, and which weighting costs less?"
TABLE = ("bits_per_char", "above_ngram", "accuracy", "worse_than_local", "size_effective_number")


def study(options: Options) -> Study:
    """Returns the grid: Gini coefficient by weighting, and a centralised ceiling."""
    clients, documents, rounds, steps = (20, 1600, 40, 20) if options.quick else (40, 12_000, 280, 40)
    ginis = (0.0, 0.5, 0.8) if options.quick else (0.0, 0.3, 0.6, 0.9)
    uneven = f"Gini {ginis[-1]}"
    cases = []
    for gini in ginis:
        split = f"quantity(gini={gini}, clients={clients}, documents={documents})"
        for weighting in ("tokens", "uniform"):
            settings = {"partition": split, "weighting": weighting}
            cases.append(Case(f"Gini {gini}", settings, f"FedAvg, {weighting} weights", gini))
    # Trained on the text of Gini 0.0, so its difference from that condition is the cost of federation.
    even = f"quantity(gini=0.0, clients={clients}, documents={documents})"
    centralised = {"partition": even, "client_optimizer": "adam(learning_rate=0.002)", "client_schedule": "constant"}
    cases.append(Case("centralised", centralised, "centralised", centralised=True))
    return Study(
        name="quantity_imbalance",
        question=QUESTION,
        corpus=options.corpus or "shakespeare",
        settings={"scrub": "full" if options.corpus else "none", **trained(rounds, steps, quick=options.quick)},
        cases=tuple(cases),
        control="Gini 0.0",
        contrasts=(
            Trend("bits_per_char", "FedAvg, tokens weights"),
            Contrast("bits_per_char", uneven, uneven, "FedAvg, uniform weights", "FedAvg, tokens weights"),
        ),
        table=TABLE,
        figures=(Figure("line", "bits_per_char"), Figure("line", "worse_than_local")),
        x_label="Gini coefficient of client sizes",
        # Passes without a search: more of them overfit a client with one speech, fewer leave a large one undertrained.
        local_passes=2 if options.quick else 10,
        local_clients=8,
        limits=(
            f"The model has one layer; {rounds} rounds of 4 of {clients} clients, {steps} steps of each.",
            "Local-only models are those of 8 clients a run, with ten passes each (two with --quick).",
            "Documents are dealt at random, so clients differ in size only; natural clients also differ in content.",
            "A client with little text is trained on it many times in one round, so that steps are equal.",
            "The centralised model is trained by Adam, whose learning rate was not searched.",
        ),
    )
