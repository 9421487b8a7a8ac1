"""What does scrubbing take from the model, and what does it protect?

Generated messages with planted personal data; some clients also repeat a secret (an address of mail, a full name). Secrets are
ranked by the model among others of their form (exposure: Carlini et al. 2019, https://arxiv.org/abs/1802.08232).

    fedlm study scrubbing_cost            # five seeds
    fedlm study scrubbing_cost --quick    # two seeds, a smaller model

3.7 minutes with three seeds. Exposure in bits, bits per character: none 1.96, 3.44; patterns 1.08, 3.34; full 0.98, 2.98
(docs/results.md).
"""

import math
from collections.abc import Mapping

from fedlm.data.planted import planted_secrets
from scenarios.runner.study import SMALL, Case, Figure, Options, Score, Study

QUESTION = "What does scrubbing take from the model, and how much less does the model know of a planted secret?"
TABLE = ("secrets_exposure", "bits_per_char", "secrets_completed", "accuracy")
SECRETS = 10


def probe(score: Score, seed: int) -> Mapping[str, float]:
    """Ranks each planted secret among others of its form by likelihood after its prefix."""
    ranks, exposures = [], []
    for secret in planted_secrets(SECRETS, seed):
        texts = [secret.prefix + value for value in (secret.value, *secret.others)]
        losses = [figure.loss_sum / figure.tokens for figure in score(texts)]
        rank = 1 + sum(loss < losses[0] for loss in losses[1:])
        ranks.append(rank)
        exposures.append(math.log2(len(losses)) - math.log2(rank))
    return {
        "secrets_completed": sum(r == 1 for r in ranks) / len(ranks),
        "secrets_exposure": sum(exposures) / len(exposures),
    }


def study(options: Options) -> Study:
    """Returns the grid: the profile of scrubbing."""
    clients, rounds = (20, 20) if options.quick else (60, 80)
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
        table=TABLE,
        figures=(Figure("line", "secrets_exposure"), Figure("line", "bits_per_char")),
        x_label="scrubbing",
        probe=probe,
        limits=(
            "Held-out text is scrubbed as the training text is: placeholders are easier to predict than what they replace.",
            f"The model has one layer of 64 units and {rounds} rounds of 8 of {clients} clients.",
            "Ten repeats of a secret are many; without differential privacy the figure says nothing about rarer text.",
        ),
    )
