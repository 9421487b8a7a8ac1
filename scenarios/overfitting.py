"""How much does each architecture overfit on little text, and how much do dropout, L2 and early stopping recover?

The models of `architectures` on 5 % of its text, dealt evenly, in forty passes instead of two: they see as many tokens.
The remedies are used together: dropout between layers and in the recurrence, L2 on kernels, and the best round's weights.

    fedlm study overfitting --seeds 3            # three seeds
    fedlm study overfitting --seeds 3 --quick    # half as many passes

Three seeds took 22 minutes. Held-out bits per character without and with remedies: RNN 3.88, 3.61; GRU 3.90, 3.39; LSTM 3.50, 3.39;
Transformer 5.52, 3.99 (docs/results.md).
"""

from scenarios.architectures import DOCUMENTS, MODELS, SETTINGS, settings_of
from scenarios.runner.study import Case, Contrast, Figure, Options, Study

QUESTION = "How much does each architecture overfit on 5 % of the text, and how much do the remedies recover?"
TABLE = ("bits_per_char", "best_bits_per_char", "best_round", "generalisation_gap", "accuracy")
CLIENTS = 3


def study(options: Options) -> Study:
    """Returns the grid: remedies by architecture."""
    rounds, each = (20, 2) if options.quick else (40, 4)
    conditions: dict[str, dict[str, object]] = {
        "plain": {},
        "remedies": {"patience": 2, "l2": 1e-5},  # dropout is part of the model, see settings_of
    }
    return Study(
        name="overfitting",
        question=QUESTION,
        corpus=options.corpus or "shakespeare",
        settings={
            **SETTINGS,
            "scrub": "full" if options.corpus else "none",
            "partition": f"quantity(gini=0.0, clients={CLIENTS}, documents={DOCUMENTS // 20})",
            "rounds": rounds,
            "cohort_size": CLIENTS,
            "eval_every": each,
        },
        cases=tuple(
            Case(condition, {**settings, **settings_of(name, remedies="l2" in settings)}, name)
            for condition, settings in conditions.items()
            for name in MODELS
        ),
        control="plain",
        contrasts=tuple(Contrast("bits_per_char", "remedies", "plain", name) for name in ("LSTM", "GRU")),
        table=TABLE,
        figures=(Figure("line", "bits_per_char"), Figure("line", "generalisation_gap")),
        x_label="remedies",
        limits=(
            "The best round is chosen on the held-out text itself, so early stopping looks a little better than it is.",
            "Each remedy has one strength, the same for all architectures and not tuned.",
        ),
    )
