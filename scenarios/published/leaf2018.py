"""Caldas et al. 2018, LEAF (https://arxiv.org/abs/1812.01097): a small part of Shakespeare with 1 and 20 local epochs.

The settings are those of the benchmark's script paper_experiments/shakespeare.sh: 80 rounds of 10 clients, rate 0.8, batch 10.

    fedlm study published/leaf2018
    fedlm study published/leaf2018 --quick    # reproduces nothing

Two million training symbols with 1 epoch, 40 million with 20, for each seed.
"""

from fedlm.errors import ConfigError
from scenarios.runner.study import Case, Figure, Options, Paper, Published, Study

QUESTION = "Does FedAvg diverge on a small part of Shakespeare with more local epochs?"
TABLE = ("loss", "accuracy", "bits_per_char", "generalisation_gap")
CLIENTS = 58  # 5 % of our roles
EPOCHS = (1, 20)
CHECKED = "docs/source/tutorials/shakespeare-md.md of github.com/TalwalkarLab/leaf"


def study(options: Options) -> Study:
    """Returns the grid: local epochs."""
    if options.corpus:
        raise ConfigError("The study published/leaf2018 is of Shakespeare's plays: leave --corpus out.")
    few, many = (f"E {epochs}" for epochs in EPOCHS)
    return Study(
        name="published/leaf2018",
        question=QUESTION,
        corpus="shakespeare",
        settings={
            "scrub": "none",
            "vocabulary": "chars(placeholders=0)",
            "validation_fraction": 0.0,
            "holdout_fraction": 0.1,
            "max_clients": CLIENTS,
            "model": "lstm(units=32, layers=1)" if options.quick else "lstm",
            "client_optimizer": "sgd(learning_rate=0.8)",
            "batch_size": 10,
            "cohort_size": 3 if options.quick else 10,
            "rounds": 3 if options.quick else 80,
            "eval_every": 1 if options.quick else 2,
        },
        cases=tuple(Case(f"E {epochs}", {"local_epochs": epochs}, x=epochs) for epochs in EPOCHS),
        control=few,
        table=TABLE,
        figures=(Figure("curve", "loss"), Figure("curve", "accuracy")),
        x_label="local epochs",
        seeds=3,
        paper=Paper(
            citation="Caldas et al., LEAF: A Benchmark for Federated Settings, 2018.",
            url="https://arxiv.org/abs/1812.01097",
            rows=(
                Published(
                    many,
                    "loss",
                    None,
                    "section 4, figure of Shakespeare",
                    says="FedAvg diverges as the number of local epochs increases",
                    against=few,
                    checked=CHECKED,
                ),
            ),
            differences=(
                "The paper prints curves and no figures; the row compares the losses at the end.",
                "LEAF draws roles until it has 5 % of the text and drops those with fewer than 64 windows; here 5 % of the roles "
                "are drawn.",
                "LEAF's samples are windows that overlap in all but one character, of which each predicts one: an epoch there "
                "takes 80 times the steps for as many predictions. A step here is on 10 rows of 80 predictions.",
                "LEAF's curves are the training loss, weighted over all clients; the loss here is on held-out text.",
            ),
            shortened=options.quick,
        ),
        limits=("The model is far larger than so little text needs; this study is about divergence only.",),
    )
