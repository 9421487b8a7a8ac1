"""What does the global model cost a minority that writes differently, and when is local-only training better for it?

Roles of Shakespeare's plays against presidents' addresses, cut into clients of equal size; the share of the presidents
falls from half of the clients to 1 %. With your own data (--corpus and --group KEY) the minority is the value of KEY with the
second most text.

    fedlm study minority_voice            # five seeds
    fedlm study minority_voice --quick    # two seeds, three shares, a smaller model

Three seeds took 16.3 minutes on two busy cores; bits per character of the minority, and its gain over
local-only training:

    share    minority    gain
    50 %     3.412       0.401
    20 %     3.529       0.314
    10 %     3.562       0.238
    5 %      3.578       0.268
    1 %      3.609       0.302
"""

from fedlm.errors import ConfigError
from scenarios.runner.study import SMALL, Case, Figure, Options, Study

QUESTION = (
    "What does the global model cost a minority that writes differently, and when is local-only training better for it?"
)
TABLE = ("minority", "minority_personal_gap", "minority_worse_than_local", "group_gap", "bits_per_char")
MIX = "mix(corpora=['shakespeare', 'sotu'])"


def split(options: Options, share: float, clients: int, characters: int) -> str:
    """Returns the partition of a share of the minority."""
    if options.corpus and not options.group:
        raise ConfigError("A study of groups on your own corpus needs --group KEY, the label that defines them.")
    by, group = (options.group, "") if options.corpus else ("source", "sotu")
    return f"minority(by={by!r}, group={group!r}, share={share}, clients={clients}, characters={characters})"


def study(options: Options) -> Study:
    """Returns the grid: share of the minority by weighting."""
    clients, rounds, characters = (20, 15, 6000) if options.quick else (200, 30, 6000)
    shares = (0.5, 0.2, 0.1) if options.quick else (0.5, 0.2, 0.1, 0.05, 0.01)
    # The number of clients stays: the majority gains the clients that the minority loses.
    cases = [
        Case(f"minority {100 * s:g} %", {"partition": split(options, s, clients, characters)}, "FedAvg", s)
        for s in shares
    ]
    return Study(
        name="minority_voice",
        question=QUESTION,
        corpus=options.corpus or MIX,
        settings={
            "scrub": "full" if options.corpus else "none",
            **SMALL,
            "rounds": rounds,
            "eval_every": rounds,
        },
        cases=tuple(cases),
        control="minority 50 %",
        table=TABLE,
        figures=(Figure("line", "minority"), Figure("line", "minority_personal_gap"), Figure("line", "group_gap")),
        x_label="share of the minority among the clients",
        group=options.group if options.corpus else "source",
        minority="" if options.corpus else "sotu",
        local_passes=4 if options.quick else 15,
        local_clients=10,
        limits=(
            "Two registers of different centuries differ more than most groups of users of one service.",
            f"The model has one layer of 64 units and {rounds} rounds of 8 clients; shares are of {clients} clients of 6,000 characters.",
            "Local-only models are those of 10 clients of each group.",
            "A local-only model has a fixed number of passes, not its best number.",
        ),
    )
