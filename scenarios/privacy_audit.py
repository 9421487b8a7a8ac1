"""Does a trained model keep the epsilon that its ledger claims, and is a broken mechanism caught?

Each of 84 canary clients writes one character that no one else uses; a fair coin decides whether it takes part. An auditor with the final
model ranks the characters by loss and guesses half of the coins. The number of right guesses gives a lower bound of epsilon
at 95 % confidence (`fedlm/privacy/audit.py`; Steinke, Nasr, Jagielski 2023). `clip missing` and `noise halved` are
mechanisms that claim epsilon 2 and break the claim: the first does not clip, the second adds half of the noise.

    fedlm study privacy_audit --seeds 3    # three seeds
    fedlm study privacy_audit --quick      # two seeds, three conditions

1.8 minutes on two cores. Lower bound of epsilon: claimed 2: 0.0; no noise 1.5; clip missing 2.6; noise halved 0.2 (docs/results.md).
"""

from functools import cache

from fedlm.data.planted import COIN_CANARIES, coins
from fedlm.errors import ConfigError
from fedlm.measure.membership import membership_of
from fedlm.privacy.planning import plan
from scenarios.runner.study import Case, Contrast, Figure, Options, Study

QUESTION = "Does a trained model keep the epsilon that it claims, and is a broken mechanism caught?"
TABLE = ("audited_epsilon", "right_guesses")
CLAIM, DELTA, ROUNDS, CLIP, NO_CLIP = 2.0, 1e-5, 5, 0.1, 1e3
SHARE = 0.5  # of the coins that are guessed, from both ends of the ranking
AUDIT = membership_of([c * 80 for c in COIN_CANARIES], coins, share=SHARE, delta=DELTA)
_noise = cache(plan)


def study(options: Options) -> Study:
    """Returns the grid: mechanism."""
    if options.corpus:
        raise ConfigError("The study privacy_audit creates its own clients, the canaries: leave --corpus out.")
    z = _noise(target=CLAIM, delta=DELTA, rounds=ROUNDS, sampling_rate=1.0)
    claimed = f"claimed {CLAIM:g}"
    mechanisms = {
        claimed: {"clip_norm": CLIP, "noise_multiplier": z},
        "no noise": {"clip_norm": CLIP, "noise_multiplier": 0.0},
        # noise std = multiplier * clip norm: this is the claimed std, beside a norm that clips nothing
        f"{claimed}, clip missing": {"clip_norm": NO_CLIP, "noise_multiplier": z * CLIP / NO_CLIP},
    }
    if not options.quick:
        mechanisms[f"{claimed}, noise halved"] = {"clip_norm": CLIP, "noise_multiplier": z / 2}
    return Study(
        name="privacy_audit",
        question=QUESTION,
        corpus="coins(seed={seed})",
        settings={
            "scrub": "none",
            "model": "lstm(units=16, layers=1)",
            "mechanism": "gaussian",
            "weighting": "uniform",
            "sampling_rate": 1.0,  # no amplification by sampling: the coins decide who takes part
            "delta": DELTA,
            "strategy": "FedAvgM(server_learning_rate=5.0, server_momentum=0.0)",
            "max_client_tokens": 16_000,  # every canary's 20 epochs
            "local_epochs": 20,  # an update many times the clip norm, so that a missing clip matters
            "rounds": ROUNDS,
            "cohort_size": len(COIN_CANARIES) // 2,
            "eval_every": ROUNDS,
        },
        cases=tuple(Case(name, dict(settings)) for name, settings in mechanisms.items()),
        control=claimed,
        contrasts=(Contrast("audited_epsilon", f"{claimed}, clip missing", claimed),),
        table=TABLE,
        figures=(Figure("line", "audited_epsilon"), Figure("line", "right_guesses")),
        measures=(AUDIT,),
        limits=(
            "A lower bound can refute a claim and never prove one. 42 right guesses of 42, for 84 canaries, give 2.6.",
            "The auditor has the final model only; the claim covers the models of all rounds.",
            "84 canaries do not detect halved noise; 10,000 at the released sum do (tests/privacy/test_audit.py).",
        ),
    )
