"""What does it cost when clients write about different things?

Speeches are dealt to clients of equal size. Their plays (or the label --group KEY) follow Dirichlet(alpha), from alpha 0.05
to IID, with one and five local epochs (Hsu et al. 2019, https://arxiv.org/abs/1909.06335). The natural split by role is
beside them.

    fedlm study label_skew            # five seeds
    fedlm study label_skew --quick    # two seeds, three splits, a smaller model

12.3 minutes with three seeds. Bits per character, one epoch and five: IID 3.126, 2.743; Dirichlet 0.05 3.075, 2.704; Dirichlet 1
3.077, 2.731; natural 2.760 (docs/results.md).
"""

from scenarios.runner.study import SMALL, Case, Figure, Options, Study

QUESTION = "What does it cost the model when clients write about different things?"
TABLE = ("bits_per_char", "worst_tenth", "client_deviation", "update_cosine", "update_norm")


def study(options: Options) -> Study:
    """Returns the grid: concentration of labels by local epochs, and the natural split."""
    clients, documents, rounds = (20, 30, 15) if options.quick else (50, 40, 60)
    label = options.group or "play"
    alphas = (0.05, 5.0) if options.quick else (0.05, 1.0)
    # Every dealt split has clients x documents speeches in clients of one size: only the mixture of labels differs.
    splits = {"IID": f"quantity(gini=0.0, clients={clients}, documents={clients * documents})"}
    splits |= {
        f"Dirichlet {a}": f"topics(by={label!r}, alpha={a}, clients={clients}, documents={documents})" for a in alphas
    }
    cases = [
        Case(name, {"partition": split, "local_epochs": epochs}, f"FedAvg, {epochs} local epoch{'s' * (epochs > 1)}")
        for name, split in splits.items()
        for epochs in ((1,) if options.quick else (1, 5))
    ]
    natural = {"max_clients": clients, "min_documents": documents // 2}
    cases.append(Case("natural", natural, "FedAvg, 1 local epoch"))
    return Study(
        name="label_skew",
        question=QUESTION,
        corpus=options.corpus or "shakespeare",
        settings={
            "scrub": "full" if options.corpus else "none",
            **SMALL,
            "drift": True,  # a second exact sum per round, for the cosine of the updates to their mean
            "rounds": rounds,
            "eval_every": rounds,
        },
        cases=tuple(cases),
        control="IID",
        table=TABLE,
        figures=(
            Figure("line", "bits_per_char"),
            Figure("line", "worst_tenth"),
            Figure("line", "update_cosine"),
            Figure("spread", "bits_per_char"),
        ),
        x_label="split",
        limits=(
            f"The model has one layer of 64 units and {rounds} rounds of 8 of {clients} clients.",
            "Five local epochs are five times the training of one epoch in the same rounds.",
            "The natural split has clients of other sizes, and other text in total, than the dealt splits.",
        ),
    )
