"""How much stereotyped text does it take to bias the model, and do heavy writers weigh more?

A share d of the clients mixes sentences of occupation and pronoun into real text, the pronoun always the majority's of the
occupation (official shares); the others write the same sentences with even pronouns. Biased clients write as much as the
others, or four times as much, and the text in total stays the same. The score is on sentences that were never planted.

    fedlm study bias_dose            # ten seeds
    fedlm study bias_dose --quick    # two seeds, three doses, a smaller model
"""

from fedlm.data.planted import PROBES, planted_shares
from fedlm.measure.bias import bias_of
from fedlm.measure.pairs import template_pairs
from scenarios.runner.study import Case, Contrast, Figure, Options, Study, Trend, trained

QUESTION = "How does the share of clients who write stereotypes, and how much they write, bias the model?"
TABLE = ("pronoun_bias", "bias_after", "preferred", "bits_per_char", "above_ngram")
PROBED = bias_of(lambda: template_pairs(PROBES, planted_shares()))  # the majority's pronoun against the other one
EQUAL, BY_TEXT, UNIFORM = "equal writers", "heavy writers, tokens weights", "heavy writers, uniform weights"
_WRITERS: dict[str, tuple[float, str]] = {EQUAL: (1.0, "tokens"), BY_TEXT: (4.0, "tokens"), UNIFORM: (4.0, "uniform")}


def study(options: Options) -> Study:
    """Returns the grid: dose by how much a biased client writes and how clients are weighted."""
    clients, documents, sentences, rounds, steps = (20, 60, 20, 40, 20) if options.quick else (40, 240, 240, 280, 40)
    inner = options.corpus or "shakespeare"
    doses = (0.0, 0.5, 1.0) if options.quick else (0.0, 0.1, 0.25, 0.5, 1.0)
    text = f"biased(corpus={inner!r}, clients={clients}, documents={documents}, sentences={sentences}, seed={{seed}}"
    cases = [
        Case(f"dose {dose}", {"weighting": weighting}, name, dose, f"{text}, dose={dose}, heavy={heavy})")
        for dose in doses
        for name, (heavy, weighting) in _WRITERS.items()
        if name == EQUAL or 0 < dose < 1  # without others there is nobody to write more than
    ]
    middle = f"dose {doses[1]}" if options.quick else "dose 0.25"
    return Study(
        name="bias_dose",
        question=QUESTION,
        corpus=inner,
        settings={"scrub": "full" if options.corpus else "none", **trained(rounds, steps, quick=options.quick)},
        cases=tuple(cases),
        control="dose 0.0",
        contrasts=(Trend("pronoun_bias", EQUAL), Contrast("pronoun_bias", middle, middle, BY_TEXT, UNIFORM)),
        table=TABLE,
        figures=(Figure("line", "pronoun_bias"), Figure("line", "preferred")),
        x_label="share of biased clients",
        measures=(PROBED,),
        limits=(
            "The planted sentences are of six forms and half of all documents; free text has fewer stereotypes, of other forms.",
            f"The model reads characters, has one layer and {rounds} rounds of 4 of {clients} clients, {steps} steps of each.",
            "The occupations of the score were planted; only its sentences are new.",
        ),
    )
