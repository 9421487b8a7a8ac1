"""What does it cost when clients write about different things?

The same speeches are dealt to clients of equal size. Their plays (or the label --group KEY) follow Dirichlet(alpha), from alpha
0.05 to IID (Hsu et al. 2019, https://arxiv.org/abs/1909.06335), with few and with many local steps in as many steps in total.

    fedlm study label_skew            # ten seeds
    fedlm study label_skew --quick    # two seeds, two splits, a smaller model
"""

from scenarios.runner.study import Case, Contrast, Figure, Options, Study, trained

QUESTION = "What does it cost the model when clients write about different things?"
TABLE = ("bits_per_char", "above_ngram", "worst_tenth", "client_deviation", "update_cosine", "update_norm")
IID = 1e6  # a concentration at which every client has the distribution of all


def study(options: Options) -> Study:
    """Returns the grid: concentration of labels by local steps."""
    clients, documents, rounds, steps = (20, 80, 40, 20) if options.quick else (40, 300, 280, 40)
    label = options.group or "play"
    alphas = (
        {"IID": IID, "Dirichlet 0.05": 0.05}
        if options.quick
        else {"IID": IID, "Dirichlet 1": 1.0, "Dirichlet 0.05": 0.05}
    )
    locally = (1,) if options.quick else (1, 5)  # times the local steps, in so many fewer rounds
    cases = [
        Case(
            name,
            {
                "partition": f"topics(by={label!r}, alpha={alpha}, clients={clients}, documents={documents})",
                **trained(rounds // more, steps * more, quick=options.quick),
            },
            f"FedAvg, {steps * more} local steps",
        )
        for name, alpha in alphas.items()
        for more in locally
    ]
    return Study(
        name="label_skew",
        question=QUESTION,
        corpus=options.corpus or "shakespeare",
        settings={
            "scrub": "full" if options.corpus else "none",
            "drift": True,  # a second exact sum per round, for the cosine of the updates to their mean
        },
        cases=tuple(cases),
        control="IID",
        contrasts=tuple(
            Contrast("bits_per_char", "Dirichlet 0.05", "IID", f"FedAvg, {steps * more} local steps")
            for more in locally
        ),
        table=TABLE,
        figures=(
            Figure("line", "bits_per_char"),
            Figure("line", "update_cosine"),
            Figure("spread", "equal_bits_per_char"),
        ),
        x_label="split",
        client_symbols=500,
        limits=(
            f"The model has one layer; 4 of {clients} clients a round, {rounds * steps * 4:,} local steps in total.",
            "All splits deal the same documents of a seed; which of a client's documents are held out differs.",
            "Labels run out towards the end of the deal, so the mixtures are less skewed than alpha says: see label_entropy.",
        ),
    )
