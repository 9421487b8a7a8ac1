"""What does it cost when clients write about different things?

Speeches are dealt to clients by Dirichlet(alpha) over a label (genre, or --group KEY), from alpha 0.05 to IID, with one and
five local epochs (Hsu et al. 2019, https://arxiv.org/abs/1909.06335). The natural split by user stands beside them.

    fedlm study label_skew            # five seeds
    fedlm study label_skew --quick    # two seeds, three splits, a smaller model

No full run has been measured yet: its time and table are still to come.
"""

from scenarios.study import Case, Figure, Options, Study

QUESTION = "What does it cost the model when clients write about different things?"
TABLE = ("bits_per_char", "worst_tenth", "client_deviation", "accuracy")


def study(options: Options) -> Study:
    """Returns the grid: concentration of labels by local epochs, and the natural split."""
    clients, rounds = (20, 20) if options.quick else (50, 60)
    label = options.group or "genre"
    alphas = (0.1, 1.0) if options.quick else (0.05, 0.1, 0.5, 1.0, 10.0)
    splits = {"IID": f"iid(num_partitions={clients})"}
    splits |= {
        f"Dirichlet {a}": f"dirichlet(alpha={a}, num_partitions={clients}, partition_by='{label}')" for a in alphas
    }
    cases = [
        Case(name, {"partition": split, "local_epochs": epochs}, f"FedAvg, {epochs} local epoch{'s' * (epochs > 1)}")
        for name, split in splits.items()
        for epochs in ((1,) if options.quick else (1, 5))
    ]
    cases.append(Case("natural", {"max_clients": clients}, "FedAvg, 1 local epoch"))
    return Study(
        name="label_skew",
        question=QUESTION,
        corpus=options.corpus or "shakespeare",
        settings={
            "scrub": "full" if options.corpus else "none",
            "model": "lstm(units=48, layers=1)" if options.quick else "lstm(units=128, layers=1)",
            "rounds": rounds,
            "cohort_size": 5 if options.quick else 10,
            "eval_every": rounds,
        },
        cases=tuple(cases),
        control="IID",
        table=TABLE,
        figures=(Figure("line", "bits_per_char"), Figure("line", "worst_tenth"), Figure("spread", "bits_per_char")),
        x_label="split",
        limits=("The natural split has clients of other sizes and other text in total than the dealt ones.",),
    )
