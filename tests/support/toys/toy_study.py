"""A toy study in one file, as a user would write one: does a second round help?"""

from scenarios.runner.study import Case, Figure, Options, Study
from tests.support.toys.toy_measure import TOY

QUESTION = "Does a second round help?"
TABLE = ("bits_per_char", "toy_above_bound")


def study(options: Options) -> Study:
    """Returns the grid: number of rounds."""
    rounds = (1, 2) if options.quick else (1, 2, 4)
    return Study(
        name="toy_study",
        question=QUESTION,
        corpus=options.corpus or "shakespeare",
        settings={"scrub": "none", "model": "lstm(units=8, layers=1)", "max_clients": 4, "cohort_size": 2},
        cases=tuple(Case(f"{n} rounds", {"rounds": n, "eval_every": n}, x=n) for n in rounds),
        control="1 rounds",
        table=TABLE,
        figures=(Figure("line", "toy_above_bound"), Figure("spread", "bits_per_char")),
        x_label="rounds",
        measures=(TOY,),
        limits=("Four clients and eight units are a toy.",),
    )
