"""Charles et al. 2021, On Large-Cohort Training for Federated Learning (https://arxiv.org/abs/2106.07820): cohorts of 5 to 100.

FedAvg on Shakespeare in the split of TensorFlow Federated, from your own copies of its two files.

    fedlm study published/charles2021 --corpus shakespeare_train.h5 --test shakespeare_test.h5
    fedlm study published/charles2021 --corpus shakespeare_train.h5 --test shakespeare_test.h5 --quick    # reproduces nothing

1,500 rounds are 28 million training symbols with cohorts of 5, and 570 million with cohorts of 100.
"""

from fedlm.measure.rounds import LAST, last_accuracy
from scenarios.runner.study import Case, Figure, Options, Paper, Published, Study
from scenarios.runner.tff import tff_shakespeare

QUESTION = "What does a larger cohort gain on Shakespeare at the same number of rounds?"
TABLE = (LAST, "accuracy", "bits_per_char", "tokens_per_second")
COHORTS = (5, 10, 20, 50, 100)
CHECKED = "the abstract (diminishing returns)"


def study(options: Options) -> Study:
    """Returns the grid: cohort size."""
    settings = tff_shakespeare("published/charles2021", options)
    rounds, last, every = (10, 10, 5) if options.quick else (1500, 100, 20)
    return Study(
        name="published/charles2021",
        question=QUESTION,
        corpus=options.corpus,
        test=options.test,
        settings={**settings, "rounds": rounds, "eval_every": every},
        cases=tuple(Case(f"cohort {size}", {"cohort_size": size}, x=size) for size in COHORTS),
        control="cohort 5",
        table=TABLE,
        figures=(Figure("line", LAST), Figure("curve", "accuracy")),
        x_label="clients per round",
        seeds=1,
        measures=(last_accuracy(last),),
        paper=Paper(
            citation="Charles et al., On Large-Cohort Training for Federated Learning, NeurIPS 2021.",
            url="https://arxiv.org/abs/2106.07820",
            rows=tuple(
                Published(
                    f"cohort {large}",
                    LAST,
                    None,
                    "abstract; section on diminishing returns",
                    says="the gain from doubling a cohort falls with its size",
                    against=f"cohort {small}",
                    checked=CHECKED,
                )
                for small, large in ((5, 10), (10, 20), (50, 100))
            ),
            differences=(
                "The paper's figures are read from curves, which are not repeated here; the rows are our gains.",
                "The paper tunes both learning rates for cohorts of 50; here they are those of Reddi et al. 2021 for cohorts of "
                "10, and the batch size is 4.",
                "The paper's code clips updates adaptively by default; here nothing is clipped.",
            ),
            shortened=options.quick,
        ),
        limits=(
            "One seed per cohort size. Larger cohorts also see more text: rounds are held constant and not symbols.",
        ),
    )
