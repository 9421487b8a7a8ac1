"""What does scrubbing cost the model, and what does it protect?

Generated messages with planted personal data; some clients also repeat a secret (an e-mail address or a full name).
The model ranks each secret among others of its form (exposure: Carlini et al. 2019, https://arxiv.org/abs/1802.08232).

    fedlm study scrubbing_cost            # ten seeds
    fedlm study scrubbing_cost --quick    # two seeds, a smaller model

3.7 minutes with three seeds. Exposure in bits, bits per character: none 1.96, 3.44; patterns 1.08, 3.34; full 0.98, 2.98
(docs/results.md).
"""

from fedlm.data.planted import planted_secrets
from fedlm.measure.exposure import exposure_of
from scenarios.runner.study import SMALL, Case, Contrast, Figure, Options, Study

QUESTION = "What does scrubbing cost the model, and how much less does it memorise a planted secret?"
TABLE = ("secrets_exposure", "bits_per_char", "secrets_completed", "accuracy")
SECRETS = 10
EXPOSURE = exposure_of(lambda seed: planted_secrets(SECRETS, seed))


def study(options: Options) -> Study:
    """Returns the grid: the profile of scrubbing."""
    clients, rounds = (20, 20) if options.quick else (60, 80)
    # The secrets are of the kinds that scrubbing finds, in text whose other personal data is generated.
    inner = options.corpus or f"synthetic(clients={clients}, messages=20)"
    profiles = ("none", "patterns", "full")
    return Study(
        name="scrubbing_cost",
        question=QUESTION,
        corpus=f"canaries(corpus={inner!r}, secrets={SECRETS}, repeats=10, seed={{seed}})",
        settings={
            **SMALL,
            "rounds": rounds,
            "eval_every": rounds,
        },
        cases=tuple(Case(f"scrub {profile}", {"scrub": profile}) for profile in profiles),
        control="scrub none",
        contrasts=tuple(Contrast(m, "scrub full", "scrub none") for m in ("secrets_exposure", "bits_per_char")),
        table=TABLE,
        figures=(Figure("line", "secrets_exposure"), Figure("line", "bits_per_char")),
        x_label="scrubbing",
        measures=(EXPOSURE,),
        limits=(
            "Held-out text is scrubbed like the training text: placeholders are easier to predict than what they replace.",
            f"The model has one layer of 64 units and {rounds} rounds of 8 of {clients} clients.",
            "Ten repeats of a secret are many; the figure says nothing about rarer text.",
        ),
    )
