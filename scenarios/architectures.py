"""Which architecture learns most from the same text with the same number of parameters, and does federation change the order?

RNN, GRU, LSTM and Transformer of 69,000 to 70,000 parameters each (within 1 %) see the same tokens: all text in one place (centralised),
documents dealt evenly to clients (IID), and one client per role. Each architecture has its own
learning rate, from an uneven search that docs/results.md describes.

    fedlm study architectures --seeds 3            # three seeds
    fedlm study architectures --seeds 3 --quick    # fewer rounds and roles

Three seeds took 33 minutes on two busy cores. Bits per character, centralised, IID and per role: GRU 2.74, 3.22, 2.93; LSTM
2.83, 3.33, 3.05; RNN 3.11, 3.52, 3.37; Transformer 3.29, 3.66, 3.56. Every difference from the LSTM has the same sign in all
three seeds. docs/results.md has the table.
"""

from scenarios.runner.study import Case, Contrast, Figure, Options, Study

QUESTION = "Which architecture learns most at equal parameters and tokens: centralised, IID and per role?"
TABLE = ("bits_per_char", "accuracy", "worst_tenth", "tokens_per_second", "bytes_per_round")

# Name: (model of 69,114 to 69,690 parameters with 90 symbols, dropout that `overfitting` adds, learning rate of Adam).
MODELS: dict[str, tuple[str, str, float]] = {
    "RNN": ("rnn(units=213, layers=1, embedding=16{})", ", dropout=0.3, recurrent_dropout=0.3", 0.006),
    "GRU": ("gru(units=128, layers=1, embedding=16{})", ", dropout=0.3, recurrent_dropout=0.3", 0.01),
    "LSTM": ("lstm(units=112, layers=1, embedding=16{})", ", dropout=0.3, recurrent_dropout=0.3", 0.01),
    "Transformer": ("transformer(width=48, layers=2, heads=4{})", ", input_dropout=0.1, dropout=0.3", 0.003),
}
ROLES, DOCUMENTS = 50, 1400  # as many documents as so many roles have on average
SETTINGS: dict[str, object] = {"vocabulary": "chars(placeholders=0)", "batch_size": 8, "min_documents": 2}


def settings_of(name: str, *, remedies: bool = False) -> dict[str, object]:
    """Returns model and optimizer of an architecture, with dropout or without."""
    spec, dropout, rate = MODELS[name]
    return {"model": spec.format(dropout if remedies else ""), "client_optimizer": f"adam(learning_rate={rate})"}


def study(options: Options) -> Study:
    """Returns the grid: location of the text, by architecture."""
    clients = 20 if options.quick else ROLES
    documents = DOCUMENTS * clients // ROLES
    per_role: dict[str, object] = {"max_clients": clients}
    places: dict[str, dict[str, object]] = {
        "centralised": per_role,
        "IID": {"partition": f"quantity(gini=0.0, clients={clients}, documents={documents})"},
        "per role": per_role,
    }
    rounds = 10 if options.quick else 20
    return Study(
        name="architectures",
        question=QUESTION,
        corpus=options.corpus or "shakespeare",
        settings={
            **SETTINGS,
            "scrub": "full" if options.corpus else "none",
            "rounds": rounds,
            "cohort_size": clients // 10,  # rounds x cohort / clients: two passes (quick: one), as many as centralised
            "eval_every": rounds,
        },
        cases=tuple(
            Case(place, {**settings, **settings_of(name)}, name, centralised=place == "centralised")
            for place, settings in places.items()
            for name in MODELS
        ),
        control="",
        baseline="LSTM",
        contrasts=(
            Contrast("bits_per_char", "IID", "IID", "GRU", "LSTM"),
            Contrast("bits_per_char", "centralised", "centralised", "GRU", "LSTM"),
        ),
        table=TABLE,
        figures=(Figure("line", "bits_per_char"), Figure("line", "worst_tenth")),
        x_label="location of the text",
        limits=(
            "One size, one learning rate for each architecture and few tokens: larger models and longer runs may change the order.",
            "Under IID the held-out text differs from that of the other conditions: compare architectures within a condition.",
            "Training speed is that of one core shared with other runs of the study.",
        ),
    )
