"""Scrubbing: personal data out, placeholders in.

Presidio's recognisers and ours (`recognisers/`, one per file) find it. Each finding is replaced by the placeholder of its
kind, by a surrogate, or by nothing. Only `Scrubber.scrub` makes a `ScrubbedText`, and sealing accepts nothing else.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from fedlm.errors import ConfigError
from fedlm.scrub.kinds import KIND_OF_ENTITY, WRITTEN, Kind, strip_placeholders
from fedlm.scrub.normal import View, plain, views
from fedlm.scrub.processes import Processes, worth
from fedlm.scrub.profile import parse_profile
from fedlm.scrub.surrogates import Surrogates
from fedlm.system.processors import processors
from fedlm.system.threads import in_groups

GROUP_CHARACTERS = 20_000  # of texts that are analysed together
SHORTEST_REST = 3  # letters or digits that must remain of a finding beside an overlap
GROUP_TEXT = 20  # the fixed cost of a text in a group, in characters


@dataclass(frozen=True)
class Finding:
    """One span of personal data.

    Attributes:
      start, end: characters [start, end) of the text.
      kind: what it is.
      score: certainty, 0 to 1.
      label: the entity, as the recogniser calls it.
    """

    start: int
    end: int
    kind: Kind
    score: float
    label: str = ""


_MAKERS = object()  # the proof that a ScrubbedText was made here; no other module has it


@dataclass(frozen=True)
class ScrubbedText:
    """Text that went through `Scrubber.scrub`; nothing else can make one."""

    text: str = field(repr=False)
    _maker: object = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if self._maker is not _MAKERS:
            raise TypeError("only Scrubber.scrub makes a ScrubbedText")


class Scrubber:
    """Finds and replaces personal data. Findings in a text depend on no other text. Several threads may share a scrubber.

    Args:
      spec: `full` (patterns and the names model), `patterns` (no model) or `none` (nothing is scrubbed), with the options
        of `fedlm.scrub.profile`.

    Raises:
      ConfigError: there is no such profile or option.
    """

    def __init__(self, spec: str = "full") -> None:
        self.spec = spec
        self.profile = parse_profile(spec)
        self._analyzer: Any = None
        if self.profile.scope.patterns:
            from fedlm.scrub import presidio  # loads spaCy

            self._analyzer = presidio.Analyzer(self.profile)

    @contextmanager
    def spread(self, characters: int) -> Iterator[int]:
        """Analyses in several processes inside the block, if there are enough characters; yields the threads to use.

        Without scrubbing, there are none.
        """
        if self._analyzer is None:
            yield 0
            return
        count = worth(characters)
        if not count:
            yield processors()  # the model runs outside the interpreter's lock
            return
        own, self._analyzer = self._analyzer, Processes(self.profile, count)
        try:
            yield count + 1  # one more than processes, so that none waits for its next texts
        finally:
            self._analyzer.close()
            self._analyzer = own

    def find(self, text: str) -> list[Finding]:
        """Returns the findings in `text`, in order and without overlaps; recognisers read its plain form (`normal`)."""
        return self.find_all([text])[0]

    def find_all(self, texts: Sequence[str]) -> list[list[Finding]]:
        """Returns the findings in each text, as `find` does; short texts are faster together."""
        if self._analyzer is None:
            return [[] for _ in texts]
        seen = [views(text) for text in texts]
        found: dict[str, list[Finding]] = {v.text: [] for each in seen for v in each}  # equal texts are analysed once
        for group in in_groups(filter(None, found), weight, GROUP_CHARACTERS):
            for text, results in zip(group, self._analyzer.analyze_all(group), strict=True):
                found[text] = self._findings(text, results)
        return [_joined(_placed(v, found[v.text]) for v in each) for each in seen]

    def _findings(self, text: str, results: Iterable[tuple[int, int, str, float]]) -> list[Finding]:
        found = (Finding(a, b, KIND_OF_ENTITY[label], score, label) for a, b, label, score in results)
        kept = resolve((_trim(text, f) for f in found if self.profile.accepts(f.kind, f.score)), text)
        if self.profile.scope.models:
            # Only a model is certain of names that have no form; their other occurrences are found by the word itself.
            again = [f for f in _repeated(text, kept) if self.profile.accepts(f.kind, f.score)]
            kept = resolve([*kept, *again]) if again else kept
        return list(_beside_placeholders(text, kept)) if "<" in text else kept

    def scrub(
        self, text: str, counts: Counter[str] | None = None, surrogates: Surrogates | None = None
    ) -> ScrubbedText:
        """Returns `text` with each finding replaced; adds findings per kind to `counts`.

        Private-use characters are removed first, so that no text can forge a placeholder.

        Raises:
          ConfigError: the profile needs surrogates and none were given.
        """
        return self.scrub_all([text], counts, surrogates)[0]

    def scrub_all(
        self, texts: Sequence[str], counts: Counter[str] | None = None, surrogates: Surrogates | None = None
    ) -> list[ScrubbedText]:
        """Returns what `scrub` returns for each text; short texts are faster together.

        Raises:
          ConfigError: the profile needs surrogates and none were given.
        """
        clean = [strip_placeholders(text) for text in texts]
        done = []
        for text, findings in zip(clean, self.find_all(clean), strict=True):
            if counts is not None:
                counts.update(f.kind.name for f in findings)
            done.append(ScrubbedText(put(text, findings, self.replacements(text, findings, surrogates)), _MAKERS))
        return done

    def replacements(self, text: str, findings: Sequence[Finding], surrogates: Surrogates | None) -> list[str]:
        """Returns what replaces each finding, according to the profile's mode."""
        if self.profile.mode == "remove":
            return ["" for _ in findings]
        if self.profile.mode == "placeholder":
            return [f.kind.placeholder for f in findings]
        if surrogates is None:
            raise ConfigError("The scrub mode pseudonym needs a key, and this command has none.")
        return [surrogates.surrogate(f.kind, plain(text[f.start : f.end])) for f in findings]


def _placed(view: View, findings: Iterable[Finding]) -> list[Finding]:
    """Returns findings in a view as findings in its original, still without overlaps."""
    placed, at = list[Finding](), 0
    for f in findings:
        start, end = view.span(f.start, f.end)
        if (start := max(start, at)) < end:  # two findings may share a ligature
            placed.append(replace(f, start=start, end=end))
            at = end
    return placed


def _joined(each: Iterable[list[Finding]]) -> list[Finding]:
    """Returns the first view's findings, and those of other views that overlap none of them."""
    first, *others = each
    starts = [f.start for f in first]
    free = (
        f for found in others for f in found if not (n := bisect_left(starts, f.end)) or first[n - 1].end <= f.start
    )
    return sorted([*first, *free], key=lambda f: f.start)


def _beside_placeholders(text: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yields findings without the placeholders in text that was scrubbed before; the rest of each finding is kept."""
    written = [m.span() for m in WRITTEN.finditer(text)]
    for f in findings:
        inside = [(a, b) for a, b in written if a < f.end and f.start < b]
        yield from (_trim(text, p) for p in _without(f, inside) if not inside or _is_worth(text, p))


def _repeated(text: str, findings: Sequence[Finding]) -> list[Finding]:
    """Returns further occurrences of names that are certain in one place."""
    from fedlm.scrub.names import consistency, lexicon  # load name lists

    sure = [(f.start, f.end) for f in findings if f.kind == Kind.PERSON and f.score >= consistency.SURE]
    addresses = [(f.start, f.end) for f in findings if f.kind == Kind.EMAIL]
    if not sure and not addresses:
        return []
    taken = [(f.start, f.end) for f in findings]
    spans = consistency.repeated(text, sure, addresses, taken, lexicon.lexicon())
    return [Finding(a, b, Kind.PERSON, consistency.SCORE, "PERSON") for a, b in spans]


def weight(text: str) -> int:
    """Returns the cost of a text in a group, in characters."""
    return len(text) + GROUP_TEXT


def resolve(findings: Iterable[Finding], text: str = "") -> list[Finding]:
    """Returns findings without overlaps, in order: the most certain wins, then the longest, then the first.

    The part of a loser beside the winner stays a finding if it has enough letters or digits in `text`: a date in front of
    an address remains a date, although the address took its year for a house number.
    """
    kept: list[Finding] = []
    for f in sorted(findings, key=lambda f: (-f.score, f.start - f.end, f.start, f.label)):
        inside = sorted((k.start, k.end) for k in kept if k.start < f.end and f.start < k.end)
        pieces = _without(f, inside)
        kept += pieces if not inside else [p for p in (_trim(text, p) for p in pieces) if _is_worth(text, p)]
    return sorted((k for k in kept if k.start < k.end), key=lambda f: f.start)


def _without(f: Finding, spans: Iterable[tuple[int, int]]) -> list[Finding]:
    """Returns the parts of a finding outside spans, which are in order and overlap it."""
    edges = [f.start, *(edge for span in spans for edge in span), f.end]
    return [replace(f, start=a, end=b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]


def _is_worth(text: str, f: Finding) -> bool:
    return sum(c.isalnum() for c in text[f.start : f.end]) >= SHORTEST_REST


def _trim(text: str, f: Finding) -> Finding:
    """Returns the finding without blanks at its ends."""
    span = text[f.start : f.end]
    start = f.start + len(span) - len(span.lstrip())
    return Finding(start, max(start, f.end - len(span) + len(span.rstrip())), f.kind, f.score, f.label)


def put(text: str, findings: Sequence[Finding], replacements: Sequence[str]) -> str:
    """Returns `text` with the characters of each finding replaced."""
    pieces, at = [], 0
    for f, replacement in zip(findings, replacements, strict=True):
        pieces += [text[at : f.start], replacement]
        at = f.end
    return "".join([*pieces, text[at:]])
