"""Zhao et al. 2026, Investigating Social Bias Propagation in Federated Fine-tuning (10.1609/aaai.v40i46.41316): dose of bias.

The paper fine-tunes large models; here the design is repeated with planted sentences and a small model of characters: a third,
two thirds or all clients biased (segregated), the same sentences mixed into every client, under FedAvg, FedProx and FedAdam.

    fedlm study published/zhao2026
    fedlm study published/zhao2026 --quick    # reproduces nothing

14 million training symbols for each of the 15 runs of a seed.
"""

from fedlm.data.planted import PROBES, planted_shares
from fedlm.measure.bias import bias_of
from fedlm.measure.pairs import template_pairs
from scenarios.runner.study import Case, Figure, Options, Paper, Published, Study, trained

QUESTION = "Does a third of biased clients bias the model, and is bias that is mixed into every client worse?"
TABLE = ("pronoun_bias", "preferred", "bits_per_char", "above_ngram")
PROBED = bias_of(lambda: template_pairs(PROBES, planted_shares()))
DOSES = (0.0, 0.33, 0.66, 1.0)
ALGORITHMS: dict[str, dict[str, object]] = {
    "FedAvg": {"strategy": "FedAvg"},
    "FedProx": {"strategy": "FedAvg", "proximal_mu": 0.01},
    "FedAdam": {"strategy": "FedAdam(eta=0.01, tau=0.001)"},
}
CHECKED = "the abstract"


def study(options: Options) -> Study:
    """Returns the grid: share of biased clients or of mixed bias, by algorithm."""
    clients, documents, sentences, rounds, steps = (20, 60, 20, 20, 20) if options.quick else (40, 240, 240, 280, 40)
    inner = options.corpus or "shakespeare"
    text = f"biased(corpus={inner!r}, clients={clients}, documents={documents}, sentences={sentences}, seed={{seed}}"
    none, third, *more = (f"{text}, dose={dose})" for dose in DOSES)
    splits = {"segregated 0%": none, "segregated 33%": third}
    # As many biased sentences in total: the majority's pronoun with probability (1 + dose) / 2 at every client.
    splits["mixed 33%"] = f"{text}, dose=1.0, strength={(1 + DOSES[1]) / 2:.3f})"
    splits |= {f"segregated {dose:.0%}": corpus for dose, corpus in zip(DOSES[2:], more, strict=True)}
    return Study(
        name="published/zhao2026",
        question=QUESTION,
        corpus=inner,
        settings={"scrub": "full" if options.corpus else "none", **trained(rounds, steps, quick=options.quick)},
        cases=tuple(
            Case(name, settings, algorithm, corpus=corpus)
            for algorithm, settings in ALGORITHMS.items()
            for name, corpus in splits.items()
        ),
        control="segregated 0%",
        table=TABLE,
        figures=(Figure("line", "pronoun_bias"),),
        x_label="share of biased clients, or of bias in every client",
        seeds=3,
        measures=(PROBED,),
        paper=_paper(options),
        limits=(
            "Pronouns of occupations in planted sentences stand for social bias; CrowS-Pairs measures word frequency in so small "
            "a model, and is not used.",
        ),
    )


def _paper(options: Options) -> Paper:
    third = Published(
        "segregated 33%",
        "pronoun_bias",
        None,
        "abstract, finding 2",
        says="a third of biased data can significantly influence the global model",
        against="segregated 0%",
        checked=CHECKED,
    )
    mixed = Published(
        "mixed 33%",
        "pronoun_bias",
        None,
        "abstract, finding 3",
        says="mixed distributions have 5 to 7 % higher scores than segregated ones",
        against="segregated 33%",
        checked=CHECKED,
    )
    adam = Published(
        "segregated 33%",
        "pronoun_bias",
        None,
        "abstract, finding 1",
        algorithm="FedAdam",
        says="FedAdam propagates least: CrowS-Pairs scores up to 15 % below FedAvg's",
        against="segregated 33%",
        against_algorithm="FedAvg",
        checked=CHECKED,
    )
    return Paper(
        citation="Zhao et al., Investigating Social Bias Propagation in Federated Fine-tuning of Large Language Models, AAAI 2026.",
        url="https://doi.org/10.1609/aaai.v40i46.41316",
        rows=(third, mixed, adam),
        differences=(
            "The paper fine-tunes LLaMA, Mistral, Phi-3 and Gemma and scores CrowS-Pairs in percent; here a model of one layer is "
            "trained from nothing, and the score is the log-odds of pronouns on sentences that were never planted.",
            "Percentages of a CrowS-Pairs score have no counterpart in log-odds, so the table shows the sign and size of ours.",
            "Segregated and mixed text have the same number of biased sentences here; what the paper holds constant was not "
            "checked.",
            "No learning rate was tuned. FedAvg and FedProx have no server momentum, unlike the other studies of this size, so the "
            "model may stay behind the 5-gram; the table says by how much.",
        ),
        shortened=options.quick,
    )
