"""McMahan et al. 2017, Communication-Efficient Learning (https://arxiv.org/abs/1602.05629): Shakespeare, rounds to 54 %.

Table 2 of the paper: local epochs E and batch size B, clients that are roles of the plays and clients with dealt speeches.

    fedlm study published/mcmahan2017
    fedlm study published/mcmahan2017 --quick    # reproduces nothing

Each run goes on to 1.5 times the published rounds, of a tenth of the clients: from 60 million training symbols (E = 5 and
B = 10 by role) to a billion (E = 1, B = 50, IID). `--out` keeps finished rows, so a long study can be run in parts.
"""

import math

from fedlm.errors import ConfigError
from fedlm.measure.rounds import ROUNDS_TO, rounds_to
from scenarios.runner.study import Case, Figure, Options, Paper, Published, Study

QUESTION = "Do more local epochs and smaller batches save rounds on Shakespeare as published?"
TABLE = (ROUNDS_TO, "accuracy", "bits_per_char")
TARGET, CLIENTS, COHORT = 0.54, 1146, 117  # of IID clients, as many as the paper's roles; a tenth of our 1,170 roles
ROLE, IID = "by role", "IID"

# Rounds by (E, B): Table 2. The rows with B = infinity are left out; they need one step on all of a client's text.
PUBLISHED: dict[tuple[int, int], dict[str, int]] = {
    (1, 50): {IID: 1635, ROLE: 549},
    (1, 10): {IID: 460, ROLE: 164},
    (5, 50): {IID: 401, ROLE: 152},
    (5, 10): {IID: 192, ROLE: 41},
}
CHECKED = "a transcription of Table 2 in a public repository"


def study(options: Options) -> Study:
    """Returns the grid: E and B by how the speeches are dealt."""
    if options.corpus:
        raise ConfigError("The study published/mcmahan2017 is of Shakespeare's plays: leave --corpus out.")
    cells = [(e, b, split, rounds) for (e, b), row in PUBLISHED.items() for split, rounds in row.items()]
    return Study(
        name="published/mcmahan2017",
        question=QUESTION,
        corpus="shakespeare",
        settings={
            "scrub": "none",
            "vocabulary": "chars(placeholders=0)",
            "validation_fraction": 0.0,  # the paper's accuracy is on the test text
            "model": "lstm(units=32, layers=1)" if options.quick else "lstm",
            "client_optimizer": "sgd(learning_rate=1.47)",
            "cohort_size": 3 if options.quick else COHORT,
            "eval_every": 1 if options.quick else 2,
        },
        cases=tuple(
            _case(e, b, split, 3 if options.quick else math.ceil(1.5 * rounds)) for e, b, split, rounds in cells
        ),
        control=_name(1, 10, ROLE),
        table=TABLE,
        figures=(Figure("curve", "accuracy"),),
        seeds=1,
        measures=(rounds_to(TARGET),),
        paper=Paper(
            citation="McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017.",
            url="https://arxiv.org/abs/1602.05629",
            rows=tuple(
                Published(_name(e, b, split), ROUNDS_TO, rounds, "Table 2", checked=CHECKED)
                for e, b, split, rounds in cells
            ),
            differences=(
                "The paper tunes the learning rate for each row; here it is 1.47, a value of its grid, in all of them.",
                "Our edition has 1,170 roles with two speeches or more, theirs 1,146. The last fifth of a client's speeches is "
                "held out in both.",
                "Rows of 80 characters are cut within speeches; the vocabulary has 86 characters and the special symbols.",
                "Accuracy is measured every second round; the published curve has points of its own spacing.",
                "The rounds are those in which the best accuracy so far crosses the target, by linear interpolation, as in "
                "section 3 of the paper.",
            ),
            shortened=options.quick,
        ),
        limits=("One seed per row. The crossing of a flat curve moves by many rounds with the seed.",),
    )


def _name(epochs: int, batch: int, split: str) -> str:
    return f"E {epochs}, B {batch}, {split}"


def _case(epochs: int, batch: int, split: str, rounds: int) -> Case:
    dealt = {"partition": f"iid(num_partitions={CLIENTS})"} if split == IID else {}
    return Case(_name(epochs, batch, split), {"local_epochs": epochs, "batch_size": batch, "rounds": rounds, **dealt})
