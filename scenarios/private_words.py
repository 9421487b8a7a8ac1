"""How many words does a vocabulary learned under differential privacy find? Generated population and Shakespeare's roles.

`python -m scenarios.private_words`, about a minute. Columns: share of the 1,000 most frequent words that are
found, number of words found, and the share of all word uses that they cover. The noise comes from the operating system, so
the figures vary a little.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from fedlm.data.corpus import open_corpus
from fedlm.privacy.vocabulary import contribution, merged, noised_counts, plan_words
from fedlm.rng import Purpose, stream
from fedlm.text.learned import words_of

DELTA = 1e-6


def population(clients: int, words: int, length: int, seed: int) -> Iterator[list[str]]:
    """Yields each client's text: `length` words sampled from Zipf's law over `words` words."""
    chances = 1 / np.arange(1, words + 1)
    rng = stream(seed, Purpose.STUDY_TEXT)
    names = np.array([f"w{i}" for i in range(words)])
    for row in rng.choice(words, (clients, length), p=chances / chances.sum()):
        yield [" ".join(names[row])]


def found(texts: Sequence[list[str]], epsilon: float, words: int, *, most: int = 1000) -> tuple[float, int, float]:
    """Returns the share of the `most` used words that one node finds, the words found, and the share of uses covered."""
    uses = Counter(w for documents in texts for d in documents for w in words_of(d))
    plan = plan_words(epsilon, DELTA, words)
    counts = noised_counts((contribution(d, words) for d in texts), plan, os.urandom)
    kept = set(merged([counts], len(counts)))
    top = [w for w, _ in uses.most_common(most)]
    return sum(w in kept for w in top) / most, len(kept), sum(uses[w] for w in kept) / sum(uses.values())


def main() -> None:
    """Prints the table."""
    print("text | clients | epsilon | words a client | threshold | of 1,000 | found | uses covered")
    roles: dict[str, list[str]] = defaultdict(list)
    for document in open_corpus("shakespeare"):
        roles[document.user].append(document.text)
    made = list(population(100_000, 20_000, 40, 0))
    grids = [
        ("generated", made, (1.0,), (20, 40)),
        ("shakespeare", list(roles.values()), (1.0, 4.0, 8.0), (50, 200, 400)),
    ]
    for name, texts, epsilons, sizes in grids:
        for epsilon in epsilons:
            for words in sizes:
                share, count, covered = found(texts, epsilon, words)
                threshold = plan_words(epsilon, DELTA, words).threshold
                row = f"{name} | {len(texts):,} | {epsilon:g} | {words} | {threshold} | {share:.1%} | {count:,} | {covered:.1%}"
                print(row, flush=True)


if __name__ == "__main__":
    main()
