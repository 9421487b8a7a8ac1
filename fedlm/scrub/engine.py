"""Scrubbing: personal data out, placeholders in.

Presidio's recognisers and ours (`recognisers/`, one file each) find it; each finding becomes the placeholder of its kind,
a stand-in, or nothing. Only `Scrubber.scrub` makes a `ScrubbedText`, and sealing accepts nothing else.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fedlm.errors import ConfigError
from fedlm.scrub.entities import KIND_OF_ENTITY
from fedlm.scrub.kinds import Kind, strip_placeholders
from fedlm.scrub.processes import Processes, worth
from fedlm.scrub.profile import parse_profile
from fedlm.scrub.pseudonyms import Pseudonyms


@dataclass(frozen=True)
class Finding:
    """One span of personal data.

    Attributes:
      start, end: characters [start, end) of the text.
      kind: what it is.
      score: how certain, 0 to 1.
      label: Presidio's name of it.
    """

    start: int
    end: int
    kind: Kind
    score: float
    label: str = ""


_MAKERS = object()


@dataclass(frozen=True)
class ScrubbedText:
    """Text that went through `Scrubber.scrub`; nothing else can make one."""

    text: str = field(repr=False)
    _maker: object = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if self._maker is not _MAKERS:
            raise TypeError("only Scrubber.scrub makes a ScrubbedText")


class Scrubber:
    """Finds and replaces personal data. What is found in a text depends on no other text; several threads may share one.

    Args:
      spec: `full` (patterns and the names model), `patterns` (no model) or `none` (asked for by name only), with the
        options of `fedlm.scrub.profile`.

    Raises:
      ConfigError: no such profile or option.
    """

    def __init__(self, spec: str = "full") -> None:
        self.spec = spec
        self.profile = parse_profile(spec)
        self._analyzer: Any = None
        if self.profile.name != "none":
            from fedlm.scrub import presidio  # loads spaCy

            self._analyzer = presidio.Analyzer(self.profile)

    @contextmanager
    def spread(self, characters: int) -> Iterator[int]:
        """Uses processes of their own meanwhile, if so many characters are worth it; yields how many threads keep them busy.

        Without scrubbing that is none.
        """
        if self._analyzer is None:
            yield 0
            return
        count = worth(characters)
        if not count:
            yield os.cpu_count() or 1  # the model, at least, runs outside the interpreter's lock
            return
        alone, self._analyzer = self._analyzer, Processes(self.profile, count)
        try:
            yield count + 1
        finally:
            self._analyzer.close()
            self._analyzer = alone

    def find(self, text: str) -> list[Finding]:
        """Returns the findings in `text`, in order and without overlaps."""
        if self._analyzer is None or not text:
            return []
        found = (
            Finding(a, b, KIND_OF_ENTITY[label], score, label) for a, b, label, score in self._analyzer.analyze(text)
        )
        return resolve(_trim(text, f) for f in found if self.profile.accepts(f.kind, f.score))

    def scrub(
        self, text: str, counts: Counter[str] | None = None, pseudonyms: Pseudonyms | None = None
    ) -> ScrubbedText:
        """Returns `text` with each finding replaced; adds findings per kind to `counts`.

        Private-use characters are taken out first, so that no text can forge a placeholder.

        Raises:
          ConfigError: the profile asks for pseudonyms and none were given.
        """
        clean = strip_placeholders(text)
        findings = self.find(clean)
        if counts is not None:
            counts.update(f.kind.name for f in findings)
        return ScrubbedText(replace(clean, findings, self.stand_ins(clean, findings, pseudonyms)), _MAKERS)

    def stand_ins(self, text: str, findings: Sequence[Finding], pseudonyms: Pseudonyms | None) -> list[str]:
        """Returns what takes each finding's place, as the profile's mode says."""
        if self.profile.mode == "remove":
            return ["" for _ in findings]
        if self.profile.mode == "placeholder":
            return [f.kind.placeholder for f in findings]
        if pseudonyms is None:
            raise ConfigError("scrub mode='pseudonym' needs a key, which this command does not have.")
        return [pseudonyms.stand_in(f.kind, text[f.start : f.end]) for f in findings]


def resolve(findings: Iterable[Finding]) -> list[Finding]:
    """Returns findings without overlaps, in order: the most certain wins, then the longest, then the first."""
    kept: list[Finding] = []
    for f in sorted(findings, key=lambda f: (-f.score, f.start - f.end, f.start, f.label)):
        if f.start < f.end and all(f.end <= k.start or k.end <= f.start for k in kept):
            kept.append(f)
    return sorted(kept, key=lambda f: f.start)


def _trim(text: str, f: Finding) -> Finding:
    """Returns the finding without blanks at its ends."""
    span = text[f.start : f.end]
    start = f.start + len(span) - len(span.lstrip())
    return Finding(start, max(start, f.end - len(span) + len(span.rstrip())), f.kind, f.score, f.label)


def replace(text: str, findings: Sequence[Finding], stand_ins: Sequence[str]) -> str:
    """Returns `text` with each finding's characters replaced by its stand-in."""
    pieces, at = [], 0
    for f, stand_in in zip(findings, stand_ins, strict=True):
        pieces += [text[at : f.start], stand_in]
        at = f.end
    return "".join([*pieces, text[at:]])
