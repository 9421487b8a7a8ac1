"""Reddi et al. 2021, Adaptive Federated Optimization (https://arxiv.org/abs/2003.00295): Shakespeare, five server optimizers.

The split of TensorFlow Federated: 715 clients, from your own copies of its two files.

    fedlm study published/reddi2021 --corpus shakespeare_train.h5 --test shakespeare_test.h5
    fedlm study published/reddi2021 --corpus shakespeare_train.h5 --test shakespeare_test.h5 --quick    # reproduces nothing

One seed; 1,200 rounds are 46 million training symbols for each of the five runs.
"""

from fedlm.measure.rounds import LAST, last_accuracy
from scenarios.runner.study import Case, Figure, Options, Paper, Published, Study
from scenarios.runner.tff import tff_shakespeare

QUESTION = "Do five server optimizers reach the published accuracy on Shakespeare?"
TABLE = (LAST, "accuracy", "bits_per_char")
LEARNING_RATE = 0.316  # 10^-0.5

# Server learning rates and tau: docs/hyperparameters.md of github.com/google-research/federated (optimization/), which
# gives their logarithms: -2 and -3, -0.5 and -1, -0.5.
STRATEGIES = {
    "FedAvg": "FedAvg",
    "FedAdam": "FedAdam(eta=0.01, tau=0.001, beta_1=0.9, beta_2=0.99)",
    "FedYogi": "FedYogi(eta=0.01, tau=0.001, beta_1=0.9, beta_2=0.99)",
    "FedAdagrad": f"FedAdagrad(eta={LEARNING_RATE}, tau=0.1)",
    "FedAvgM": f"FedAvgM(server_learning_rate={LEARNING_RATE}, server_momentum=0.9)",
}
PUBLISHED = {"FedAvg": 0.569, "FedAdam": 0.570, "FedYogi": 0.572, "FedAdagrad": 0.575, "FedAvgM": 0.573}
CHECKED = {"FedAvg": "the benchmark of FedML, which cites 56.9 as this paper's"}


def study(options: Options) -> Study:
    """Returns the grid: server optimizer."""
    settings = tff_shakespeare("published/reddi2021", options)
    rounds, last, every = (20, 10, 5) if options.quick else (1200, 100, 20)
    return Study(
        name="published/reddi2021",
        question=QUESTION,
        corpus=options.corpus,
        test=options.test,
        settings={**settings, "batch_size": 4, "cohort_size": 10, "rounds": rounds, "eval_every": every},
        cases=tuple(Case(name, {"strategy": spec}, name) for name, spec in STRATEGIES.items()),
        control="FedAvg",
        table=TABLE,
        figures=(Figure("curve", "accuracy"),),
        seeds=1,
        measures=(last_accuracy(last),),
        paper=Paper(
            citation="Reddi et al., Adaptive Federated Optimization, ICLR 2021.",
            url="https://arxiv.org/abs/2003.00295",
            rows=tuple(
                Published(name, LAST, value, "table of average validation performance", checked=CHECKED.get(name, ""))
                for name, value in PUBLISHED.items()
            ),
            differences=(
                "A document's row predicts its first symbol too: rows overlap by one symbol, those of the paper's code do not, "
                "so that it leaves out one target in 81.",
                "Both count the end of a document as a target. Documents without text are left out here; in the paper's code "
                "each is one end symbol.",
                f"Accuracy is measured every {every} rounds: the mean of the last {last} rounds has {last // every} "
                "evaluations.",
                "Client sampling, initial weights and order of batches are this program's; one seed each, as in the paper.",
                "The betas are 0.9 and 0.99. The documentation of the paper's code names 0.9 and 0.999 as its defaults, and later code "
                "of the same authors sets 0.99.",
                "FedAdam and FedYogi are Flower's; FedAdam corrects the bias of its moments, as Keras' Adam in the paper's code.",
            ),
            shortened=options.quick,
        ),
        limits=("One seed per row: differences between rows of a few tenths of a percent are within chance.",),
    )
