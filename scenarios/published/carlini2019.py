"""Carlini et al. 2019, The Secret Sharer (https://arxiv.org/abs/1802.08232): exposure of planted secrets, federated.

The paper trains centrally and has no federated figures. Here clients write the secrets, and training is without protection,
on scrubbed text, or under client-level differential privacy of epsilon 8.

    fedlm study published/carlini2019
    fedlm study published/carlini2019 --quick    # reproduces nothing

By chance the exposure is about 1.4 bits; a secret that ranks first among 51 values has 5.7 bits.
"""

from functools import cache

from fedlm.data.planted import planted_secrets
from fedlm.errors import ConfigError
from fedlm.measure.exposure import exposure_of
from fedlm.privacy.planning import plan
from scenarios.runner.study import Case, Figure, Options, Paper, Published, Study, trained

QUESTION = "Are secrets of clients exposed without protection, after scrubbing, and at epsilon 8?"
TABLE = ("secrets_exposure", "chance_exposure", "secrets_completed", "bits_per_char", "above_ngram")
SECRETS, REPEATS, STEPS = 10, 10, 10
EPSILON, DELTA, COHORT, CLIP = 8.0, 1e-4, 8, 0.1
PLAIN, SCRUBBED, PRIVATE = "no protection", "scrub full", "epsilon 8"
_noise = cache(plan)


def study(options: Options) -> Study:
    """Returns the grid: protection."""
    if options.corpus:
        raise ConfigError("The study published/carlini2019 plants secrets in generated text: leave --corpus out.")
    clients, rounds = (20, 10) if options.quick else (60, 100)
    rate = (
        COHORT / clients
    )  # the guarantee is that of these clients: exposure under another one's noise would prove nothing
    private = {
        "mechanism": "gaussian",
        "clip_norm": CLIP,
        "noise_multiplier": _noise(target=EPSILON, delta=DELTA, rounds=rounds, sampling_rate=rate),
        "sampling_rate": rate,
        "delta": DELTA,
        "epsilon_budget": EPSILON,
        "reproducible": True,
        "weighting": "uniform",
        "max_client_tokens": STEPS * 4 * 80,  # what a client trains on in a round
    }
    corpus = f"synthetic(clients={clients}, messages=20)"
    return Study(
        name="published/carlini2019",
        question=QUESTION,
        corpus=f"canaries(corpus={corpus!r}, secrets={SECRETS}, repeats={REPEATS}, seed={{seed}})",
        settings={**trained(rounds, STEPS, quick=options.quick), "scrub": "none", "cohort_size": COHORT},
        cases=(Case(PLAIN), Case(SCRUBBED, {"scrub": "full"}), Case(PRIVATE, private)),
        control=PLAIN,
        table=TABLE,
        figures=(Figure("line", "secrets_exposure"),),
        x_label="protection",
        seeds=3,
        measures=(exposure_of(lambda seed: planted_secrets(SECRETS, seed)),),
        paper=Paper(
            citation="Carlini et al., The Secret Sharer, USENIX Security 2019.",
            url="https://arxiv.org/abs/1802.08232",
            rows=tuple(
                Published(case, "secrets_exposure", None, "no federated figure", says=says, checked=checked)
                for case, says, checked in (
                    (
                        PLAIN,
                        "secrets are memorised early in training, often fully within a dozen epochs",
                        "the introduction",
                    ),
                    (SCRUBBED, "no figure", "not applicable"),
                    (PRIVATE, "training under differential privacy does not memorise the secret", ""),
                )
            ),
            differences=(
                "The paper trains one model on all text, protects single sequences, and ranks a secret among all random "
                "numbers of its form; here each secret is ranked among 50 others of its form, so the exposure is at most "
                "5.7 bits.",
                f"Each of {SECRETS} clients repeats its secret {REPEATS} times, and passes over its text some 20 times in all rounds; "
                "epsilon is of whole clients.",
                f"Epsilon {EPSILON:g} (delta {DELTA:g}) is that of the {clients} clients of a run, of whom {COHORT} are expected in "
                "a round. Cohorts and noise follow from the seed, so that runs are paired; for a guarantee they may not.",
            ),
            shortened=options.quick,
        ),
        limits=(
            "Under noise the model learns less of everything; read its exposure beside its bits per character.",
            "Exposure among 51 values has a wide spread over ten secrets; three seeds are 30 of them.",
        ),
    )
