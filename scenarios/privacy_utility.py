"""What does differential privacy cost the model, and does it cost the worst-served clients more?

Roles of Shakespeare's plays, trained with the guarantee of a federation of 10,000 clients of whom 100 are drawn a round
(`noise_cohort_size`): without privacy, with clipping only (epsilon infinite), and at epsilon 8, 2 and 0.5.

    fedlm study privacy_utility --seeds 3    # three seeds
    fedlm study privacy_utility --quick      # two seeds, fewer rounds, a smaller model

7.2 minutes with three seeds. No privacy, then epsilon infinite, 8, 2, 0.5: accuracy 0.367, 0.366, 0.368, 0.367, 0.356;
perplexity of the worst tenth 24.5, 25.2, 24.0, 27.7, 35.6 (docs/results.md).
"""

from functools import cache

from fedlm.privacy.planning import plan
from scenarios.runner.study import Case, Contrast, Figure, Options, Study

QUESTION = "What does differential privacy cost the model, and does it cost the worst-served clients more?"
TABLE = ("accuracy", "worst_tenth_perplexity", "perplexity", "small_clients", "minority_gap")
EPSILONS = (8.0, 2.0, 0.5)
RATE, COHORT, DELTA, CLIP = 0.01, 100, 1e-6, 0.5  # of the federation whose guarantee is simulated
_noise = cache(plan)


def study(options: Options) -> Study:
    """Returns the grid: epsilon."""
    rounds = 20 if options.quick else 150
    private = {
        "mechanism": "gaussian",
        "clip_norm": CLIP,
        "sampling_rate": RATE,
        "noise_cohort_size": COHORT,
        "delta": DELTA,
        "reproducible": True,  # cohorts and noise follow from the seed, so that conditions are paired by seed
    }
    cases = [Case("no privacy"), Case("epsilon infinite", {**private, "noise_multiplier": 0.0})]
    for epsilon in EPSILONS:
        # The noise multiplier that spends epsilon over all rounds at this sampling rate (dp-accounting).
        z = _noise(target=epsilon, delta=DELTA, rounds=rounds, sampling_rate=RATE)
        cases.append(Case(f"epsilon {epsilon:g}", {**private, "noise_multiplier": z, "epsilon_budget": epsilon}))
    return Study(
        name="privacy_utility",
        question=QUESTION,
        corpus=options.corpus or "shakespeare",
        settings={
            "scrub": "full" if options.corpus else "none",
            "max_clients": 40 if options.quick else 100,
            "model": "lstm(units=24, layers=1)" if options.quick else "lstm(units=32, layers=1)",
            "strategy": "FedAvgM(server_momentum=0.9)",
            "weighting": "uniform",  # the sensitivity of a mean weighted by tokens would depend on the data
            "max_client_tokens": 80_000,  # for every condition; no role of Shakespeare is that long
            "rounds": rounds,
            "cohort_size": 5 if options.quick else 10,
            "batch_size": 8,
            "eval_every": rounds,
        },
        cases=tuple(cases),
        control="no privacy",
        contrasts=tuple(Contrast(m, "epsilon 2", "no privacy") for m in ("accuracy", "worst_tenth")),
        table=TABLE,
        figures=(
            Figure("line", "accuracy"),
            Figure("line", "worst_tenth_perplexity"),
            Figure("spread", "equal_bits_per_char"),
        ),
        group=options.group if options.corpus else "genre",
        limits=(
            f"Simulated: 10 clients a round carry the noise of {COHORT}. The guarantee holds for a federation of "
            f"{COHORT / RATE:,.0f} such clients and not for the clients of these runs.",
            f"A cohort of 10 varies more from round to round than one of {COHORT}; this affects every condition.",
            "Clip norm, learning rates and momentum are the same for all conditions; none was tuned.",
            "Cohorts and noise are derived from the seed, so that conditions are paired: these runs guarantee nothing themselves.",
            "The figures of this report have no noise added: a study is for public text.",
        ),
    )
