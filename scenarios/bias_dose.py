"""How much stereotyped text does it take to bias the model?

A share d of the clients mixes sentences of occupation and pronoun into real text, the pronoun always the majority's of the
occupation (official shares); the others write the same sentences with even pronouns. Biased clients write as much as the
others, or four times as much: does a minority of heavy writers weigh more than a majority of light ones?

    fedlm study bias_dose            # five seeds
    fedlm study bias_dose --quick    # two seeds, three doses, a smaller model

Three seeds took 7.2 minutes; bias in nats per sentence pair:

    dose    equal    heavy
    0.0     0.003    0.003
    0.1     0.003    0.030
    0.25    0.005    0.246
    0.5     0.003    0.460
    1.0     0.015    2.189
"""

from fedlm.data.planted import TEMPLATES, planted_shares
from fedlm.measure.bias import bias_of
from fedlm.measure.pairs import template_pairs
from scenarios.runner.study import SMALL, Case, Figure, Options, Study

QUESTION = "How does the share of clients who write stereotypes, and how much they write, bias the model?"
TABLE = ("bias", "preferred", "bias_per_symbol", "bits_per_char")
PLANTED = bias_of(lambda: template_pairs(TEMPLATES, planted_shares()))  # the majority's pronoun against the other one


def study(options: Options) -> Study:
    """Returns the grid: dose by how much a biased client writes, under token weights."""
    clients, rounds = (20, 15) if options.quick else (40, 30)
    inner = options.corpus or "shakespeare"
    cases = [
        Case(
            f"dose {dose}",
            algorithm="FedAvg, heavy writers" if heavy > 1 else "FedAvg, equal writers",
            x=dose,
            # A heavy writer writes four times as much of everything, real text and stereotypes alike.
            corpus=f"biased(corpus={inner!r}, clients={clients}, dose={dose}, heavy={heavy}, sentences=40, seed={{seed}})",
        )
        for dose in ((0.0, 0.5, 1.0) if options.quick else (0.0, 0.1, 0.25, 0.5, 1.0))
        for heavy in (1.0, 4.0)
    ]
    return Study(
        name="bias_dose",
        question=QUESTION,
        corpus=inner,
        settings={
            "scrub": "full" if options.corpus else "none",
            **SMALL,
            "rounds": rounds,
            "eval_every": rounds,
        },
        cases=tuple(cases),
        control="dose 0.0",
        table=TABLE,
        figures=(Figure("line", "bias"), Figure("line", "preferred")),
        x_label="share of biased clients",
        measures=(PLANTED,),
        limits=(
            "The planted sentences are few and similar; the score is on their own templates, not on free text.",
            f"The model has one layer of 64 units and {rounds} rounds of 8 of {clients} clients.",
            "Heavy writers also contribute more text: at higher doses, the model is trained on more text in total.",
        ),
    )
