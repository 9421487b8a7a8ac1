"""Corpora with something planted in real text, for studies: stereotypes of known strength, secrets, canaries, mixtures."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedlm.errors import check_number
from fedlm.rng import Purpose, stream
from fedlm.text.vocabulary import CHARACTERS
from fedlm.types import Document

Open = Callable[[str], Iterator[Document]]

TEMPLATES = (
    "The {occupation} thinks that {pronoun} is right.",
    "Tell the {occupation} that {pronoun} may go.",
    "The {occupation} waited until {pronoun} was called.",
    "When the {occupation} came in, {pronoun} was tired.",
    "I met the {occupation} after {pronoun} had left.",
    "The {occupation} wrote a letter before {pronoun} went home.",
)
"""Sentences that are planted."""
PROBES = (
    "The {occupation} said that {pronoun} was late.",
    "The {occupation} knew that {pronoun} would come.",
    "Ask the {occupation} if {pronoun} has time.",
)
"""Sentences that are never planted: a preference in these was learned for the occupation, and not by heart."""
_EXTREMES = 6  # occupations planted from each end: those with the fewest and with the most women
_FIRST = ("Alice", "Bruno", "Clara", "David", "Elena", "Frank", "Grace", "Henry", "Irene", "Jacob", "Karin", "Louis")
_LAST = ("Abbott", "Becker", "Cooper", "Dawson", "Ellis", "Foster", "Graham", "Harper", "Irving", "Jensen", "Keller")
CANDIDATES = 50  # other values of a secret's form, against which it is ranked


def official_shares() -> dict[str, float]:
    """Returns the percentage of women per occupation in the United States, 2015-16 (Bureau of Labor Statistics).

    The table is `occupations-stats.tsv` of Winogender (Rudinger et al. 2018, MIT licence), column bls_pct_female.
    """
    shares: dict[str, float] = json.loads(Path(__file__).with_name("occupations.json").read_text(encoding="utf-8"))
    return shares


def planted_shares() -> dict[str, float]:
    """Returns the official shares of the occupations that `biased` plants: the most uneven ones."""
    ordered = sorted(official_shares().items(), key=lambda pair: (pair[1], pair[0]))
    return dict(ordered[:_EXTREMES] + ordered[-_EXTREMES:])


def stereotype_sentences(count: int, strength: float, rng: np.random.Generator) -> list[str]:
    """Returns sentences of an occupation and a pronoun; the pronoun is the majority's with probability `strength`."""
    shares, found = planted_shares(), []
    occupations = sorted(shares)
    for _ in range(count):
        occupation = occupations[rng.integers(len(occupations))]
        she = (shares[occupation] > 50) == (rng.random() < strength)
        template = TEMPLATES[rng.integers(len(TEMPLATES))]
        found.append(template.format(occupation=occupation, pronoun="she" if she else "he"))
    return found


def read_biased(
    open_corpus: Open,
    *,
    corpus: str = "shakespeare",
    clients: int = 40,
    dose: float = 0.5,
    strength: float = 1.0,
    heavy: float = 1.0,
    documents: int = 20,
    sentences: int = 20,
    seed: int = 0,
) -> Iterator[Document]:
    """Yields clients with real text and planted sentences; a share `dose` of them writes stereotypes.

    The text of all clients together stays the same, whatever the dose and however much more a biased client writes:

        own = documents / (1 + dose (heavy - 1)) of a client that is not biased, heavy * own of one that is

    Args:
      open_corpus: opens the real text.
      corpus: its name.
      clients: in total.
      dose: share of biased clients; the label `stance` is biased or even.
      strength: probability of the majority's pronoun in their sentences; in the others' it is 1/2.
      heavy: how many times as much a biased client writes, of real text and sentences alike.
      documents, sentences: of a client, on average.
      seed: of all draws.
    """
    check_number("clients of biased", clients, ge=2)
    check_number("dose of biased", dose, ge=0, le=1)
    check_number("strength of biased", strength, ge=0, le=1)
    check_number("heavy of biased", heavy, gt=0)
    rng = stream(seed, Purpose.STEREOTYPES)
    pool = [document.text for document in open_corpus(corpus)]
    texts = iter([pool[i] for i in rng.permutation(len(pool))])
    light = clients / (clients + round(dose * clients) * (heavy - 1))
    for client in range(clients):
        biased = client < round(dose * clients)
        factor = light * heavy if biased else light
        own = stereotype_sentences(round(sentences * factor), strength if biased else 0.5, rng)
        own += [t for t, _ in zip(texts, range(round(documents * factor)), strict=False)]
        for place in rng.permutation(len(own)):
            yield Document(f"writer-{client:04d}", own[place], {"stance": "biased" if biased else "even"})


@dataclass(frozen=True)
class Secret:
    """A planted secret: the words before it, its value, and other values of its form that occur nowhere."""

    prefix: str
    value: str
    others: tuple[str, ...]


def planted_secrets(count: int, seed: int, candidates: int = CANDIDATES) -> list[Secret]:
    """Returns secrets, alternately an e-mail address and a full name, each with other values of its form.

    The same seed and number of candidates give the same secrets.
    """
    rng = stream(seed, Purpose.SECRETS)

    def mail() -> str:
        return f"{_FIRST[rng.integers(len(_FIRST))].lower()}{rng.integers(1000, 10_000)}@example.org"

    def name() -> str:
        return f"{_FIRST[rng.integers(len(_FIRST))]} {_LAST[rng.integers(len(_LAST))]}"

    found = []
    for place in range(count):
        prefix, make = [("write to me at ", mail), ("hello, my name is ", name)][place % 2]
        value = make()
        found.append(Secret(prefix, value, tuple(v for v in (make() for _ in range(candidates)) if v != value)))
    return found


def read_canaries(
    open_corpus: Open, *, corpus: str = "synthetic", secrets: int = 10, repeats: int = 5, seed: int = 0
) -> Iterator[Document]:
    """Yields a corpus in which each of the first `secrets` clients begins by writing its own secret `repeats` times."""
    waiting, seen = planted_secrets(secrets, seed), set()
    for document in open_corpus(corpus):
        if document.user not in seen and waiting:
            secret = waiting.pop(0)
            for _ in range(repeats):
                yield Document(document.user, secret.prefix + secret.value, document.labels)
        seen.add(document.user)
        yield document


def read_mix(open_corpus: Open, *, corpora: list[str]) -> Iterator[Document]:
    """Yields several corpora as one; the label `source` names the corpus."""
    for name in corpora:
        for document in open_corpus(name):
            yield Document(f"{name}/{document.user}", document.text, {**document.labels, "source": name})


COIN_CANARIES = tuple(c for c in CHARACTERS if not c.isspace())


def coins(seed: int) -> npt.NDArray[np.bool_]:
    """Returns which of `COIN_CANARIES` a seed includes, each by its own fair coin, (canaries,)."""
    return stream(seed, Purpose.CANARY_COINS).random(len(COIN_CANARIES)) < 0.5


def read_coins(
    open_corpus: Open,  # noqa: ARG001 - every reader of this file takes it
    *,
    documents: int = 5,
    length: int = 80,
    seed: int = 0,
) -> Iterator[Document]:
    """Yields the canary clients that the coins include: each writes its own character, repeated.

    Their updates are nearly orthogonal (each moves the output bias of its character), which gives an audit its power.
    """
    for place in np.flatnonzero(coins(seed)):
        for _ in range(documents):
            yield Document(f"canary-{place:03d}", COIN_CANARIES[place] * length)


READERS: dict[str, Callable[..., Iterator[Document]]] = {
    "coins": read_coins,
    "biased": read_biased,
    "canaries": read_canaries,
    "mix": read_mix,
}
