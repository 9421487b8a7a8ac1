"""Scores findings against gold spans: recall and precision per kind, exact and overlapping, and characters masked.

Counts add over texts; the ratios come last.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

# Labels of other annotation schemes, and the names under which both sides are compared.
SAME = {
    **dict.fromkeys(("PER", "GIVEN_NAME", "SURNAME"), "PERSON"),
    **dict.fromkeys(("LOC", "GPE", "ADDRESS", "STREET_ADDRESS"), "LOCATION"),
    **dict.fromkeys(("ORG",), "ORGANIZATION"),
    **dict.fromkeys(("NORP",), "NRP"),
    **dict.fromkeys(("PREFIX",), "TITLE"),
    **dict.fromkeys(("CREDIT_CARD_NUMBER",), "CREDIT_CARD"),
    **dict.fromkeys(("DOMAIN_NAME",), "URL"),
    **dict.fromkeys(("EMAIL",), "EMAIL_ADDRESS"),
    **dict.fromkeys(("SSN",), "US_SSN"),
    **dict.fromkeys(("DRIVERS_LICENSE",), "US_DRIVER_LICENSE"),
}

Span = tuple[int, int, str]


@dataclass
class Score:
    """Counts that add.

    Attributes:
      kinds: for each label, the spans in gold and found, and of both those with an exact or overlapping partner.
      characters: non-blank characters: gold, masked (of gold), found, true (of found).
    """

    kinds: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    characters: Counter[str] = field(default_factory=Counter)

    def add(self, text: str, gold: Sequence[Span], found: Sequence[Span]) -> None:
        """Adds one text: gold and found spans (start, end, label); found spans must not overlap."""
        truth, guess = canonical(text, gold), canonical(text, found)
        for name, ours, others in (("gold", truth, guess), ("found", guess, truth)):
            for span in ours:
                counts = self.kinds[span[2]]
                counts[name] += 1
                counts[f"{name} exact"] += span in others
                counts[f"{name} overlap"] += any(o[2] == span[2] and o[0] < span[1] and o[1] > span[0] for o in others)
        covered, hit = (_cover(spans) for spans in (guess, truth))
        # Gold spans may overlap: each one counts, as in the published scores.
        for a, b, _ in truth:
            self.characters["gold"] += sum(not text[i].isspace() for i in range(a, b))
            self.characters["masked"] += sum(not text[i].isspace() and i in covered for i in range(a, b))
        for a, b, _ in guess:
            self.characters["found"] += sum(not text[i].isspace() for i in range(a, b))
            self.characters["true"] += sum(not text[i].isspace() and i in hit for i in range(a, b))

    def rows(self) -> list[dict[str, str | int | float | None]]:
        """Returns one row per label, the most frequent first, and one for all labels together."""
        total: Counter[str] = Counter()
        for counts in self.kinds.values():
            total.update(counts)
        ordered = sorted(self.kinds.items(), key=lambda item: (-item[1]["gold"], item[0]))
        return [_row(label, counts) for label, counts in [*ordered, ("ALL", total)]]

    @property
    def masked(self) -> dict[str, float | None]:
        """Recall and precision over characters: masked / gold, and true / found."""
        c = self.characters
        return {"char_recall": _ratio(c["masked"], c["gold"]), "char_precision": _ratio(c["true"], c["found"])}


def canonical(text: str, spans: Iterable[Span]) -> list[Span]:
    """Returns spans with common labels and without blanks at their ends; empty spans are omitted."""
    out = []
    for start, end, label in spans:
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        if start < end:
            out.append((start, end, SAME.get(label, label)))
    return out


def table(score: Score) -> str:
    """Returns the rows as text, for a terminal."""
    names = ("label", "gold", "found", "recall", "precision", "recall_overlap", "precision_overlap")
    lines = [f"{names[0]:<26}" + "".join(f"{n:>18}" for n in names[1:])]
    for row in score.rows():
        lines.append(f"{row['label']:<26}" + "".join(f"{'' if row[n] is None else row[n]!s:>18}" for n in names[1:]))
    masked = score.masked
    return "\n".join(
        [*lines, f"characters masked: recall {masked['char_recall']}, precision {masked['char_precision']}"]
    )


def _cover(spans: Sequence[Span]) -> set[int]:
    return {i for a, b, _ in spans for i in range(a, b)}


def _row(label: str, c: Counter[str]) -> dict[str, str | int | float | None]:
    return {
        "label": label,
        "gold": c["gold"],
        "found": c["found"],
        "recall": _ratio(c["gold exact"], c["gold"]),
        "precision": _ratio(c["found exact"], c["found"]),
        "recall_overlap": _ratio(c["gold overlap"], c["gold"]),
        "precision_overlap": _ratio(c["found overlap"], c["found"]),
    }


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
