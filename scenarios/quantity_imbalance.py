"""What does it cost when few clients hold most of the text, and whom does it cost most?

The same text is dealt to the same number of clients, in sizes from even to Gini 0.9. It is trained with token weights, with
uniform weights, and centralised (the ceiling).

    fedlm study quantity_imbalance            # five seeds
    fedlm study quantity_imbalance --quick    # two seeds, three sizes, a smaller model

Three seeds took 10.5 minutes on two busy cores, --quick 3.4; held-out bits per character (worst tenth of clients):

    Gini      token weights    uniform weights
    0.0       3.340 (3.462)    3.357 (3.478)
    0.3       3.203 (3.362)    3.318 (3.481)
    0.6       2.909 (3.304)    3.193 (3.586)
    0.9       2.678 (3.517)    3.039 (3.867)
    centralised    2.710 (2.837)
"""

from scenarios.runner.study import SMALL, Case, Figure, Options, Study

QUESTION = "What does it cost the model, and which clients, when few clients hold most of the text?"
TABLE = ("bits_per_char", "worst_tenth", "client_gini", "worse_than_local", "accuracy")


def study(options: Options) -> Study:
    """Returns the grid: Gini coefficient by weighting, and a centralised ceiling."""
    clients, documents, rounds = (20, 1000, 15) if options.quick else (40, 2400, 25)
    ginis = (0.0, 0.5, 0.8) if options.quick else (0.0, 0.3, 0.6, 0.9)
    cases = []
    for gini in ginis:
        split = f"quantity(gini={gini}, clients={clients}, documents={documents})"
        for weighting in ("tokens", "uniform"):
            settings = {"partition": split, "weighting": weighting}
            cases.append(Case(f"Gini {gini}", settings, f"FedAvg, {weighting} weights", gini))
    # Trained on the text of Gini 0.0, so its difference from that condition is the cost of federation.
    even = f"quantity(gini=0.0, clients={clients}, documents={documents})"
    cases.append(Case("centralised", {"partition": even}, "centralised", centralised=True))
    return Study(
        name="quantity_imbalance",
        question=QUESTION,
        corpus=options.corpus or "shakespeare",
        settings={
            "scrub": "full" if options.corpus else "none",
            **SMALL,
            "rounds": rounds,
            "eval_every": rounds,
        },
        cases=tuple(cases),
        control="Gini 0.0",
        table=TABLE,
        figures=(Figure("line", "bits_per_char"), Figure("line", "worst_tenth"), Figure("spread", "bits_per_char")),
        x_label="Gini coefficient of client sizes",
        # Passes without a search: more of them overfit a client with one speech, fewer leave a large one undertrained.
        local_passes=2 if options.quick else 10,
        local_clients=8,
        limits=(
            f"The model has one layer of 64 units and {rounds} rounds of 8 of {clients} clients, so that a study takes minutes.",
            "Local-only models are those of 8 clients a run.",
            "All conditions have the same rounds and cohort size: with uneven sizes a large client takes more steps in a round.",
            "Documents are dealt at random, so clients differ in size only; natural clients also differ in content.",
            "The smallest clients hold out a single document: their own figures are noisy.",
        ),
    )
