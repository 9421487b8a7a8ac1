"""Scrubs a JSONL file line by line and keeps the other keys; scores a file that has annotated spans."""

import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedlm.data.files import field
from fedlm.data.lines import json_of, numbered_lines
from fedlm.data.names import client_name
from fedlm.errors import CorpusError
from fedlm.scrub.engine import GROUP_CHARACTERS, Finding, Scrubber, put, weight
from fedlm.scrub.kinds import readable, strip_placeholders
from fedlm.scrub.score import Score, Span
from fedlm.scrub.surrogates import Surrogates
from fedlm.system.files import check_new_file, replacing
from fedlm.system.threads import in_groups, in_order


def scrub_file(
    source: Path,
    target: Path,
    profile: str,
    *,
    spans: bool,
    key: bytes | None = None,
    progress: Callable[[int, int], None] = lambda done, lines: None,
) -> Counter[str]:
    """Writes `target`, whole or not at all; returns findings per kind.

    Args:
      source: JSONL with a `text` (or a whole number) in each line, and optionally the `user` who wrote it.
      target: JSONL with `text` scrubbed (placeholders as <KIND>); with `spans`, the text without private-use characters
        and `spans` of start, end (in characters), label (the entity), kind and score.
      profile: a scrub spec.
      key: of the surrogates, for mode="pseudonym"; random by default.
      progress: called with lines done and lines in total.

    Raises:
      ConfigError: there is no such profile, `target` exists, or its folder is missing or not writable.
      CorpusError: the file is missing or empty, or a line is not an object with a text.
    """
    check_new_file(target, "scrubbed text")
    scrubber, counts, done = Scrubber(profile), Counter[str](), 0
    work = _Work(scrubber, key or secrets.token_bytes(32), spans)
    lines, size = _size(source)
    with (
        replacing(target, private=True) as beside,  # scrubbed text still holds what scrubbing missed
        beside.open("wb") as out,
        scrubber.spread(size) as threads,
    ):
        for records, found in in_order(work, _groups(record for _, record in _records(source)), threads):
            counts.update(found)
            for record in records:
                out.write(json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            progress(done := done + len(records), lines)
    return counts


@dataclass(frozen=True)
class _Work:
    """Scrubs a group of records; several threads may call it."""

    scrubber: Scrubber
    key: bytes
    spans: bool

    def __call__(self, records: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Counter[str]]:
        """Returns the records, changed, and the findings per kind."""
        texts = [strip_placeholders(record["text"]) for record in records]
        found = self.scrubber.find_all(texts)
        for record, text, findings in zip(records, texts, found, strict=True):
            if self.spans:
                record |= {"text": text, "spans": [_span(f) for f in findings]}
            else:
                record["text"] = self._scrubbed(record, text, findings)
        return records, Counter(f.kind.name for findings in found for f in findings)

    def _scrubbed(self, record: dict[str, Any], text: str, findings: list[Finding]) -> str:
        surrogates = Surrogates(self.key, client_name(str(record.get("user", ""))))
        return readable(put(text, findings, self.scrubber.replacements(text, findings, surrogates)))


def score_file(gold: Path, profile: str) -> Score:
    """Scores what a profile finds against a file of texts with their true spans.

    Args:
      gold: JSONL with `text` and `spans` of `start`, `end`, `label`.
      profile: a scrub spec.

    Raises:
      ConfigError: there is no such profile.
      CorpusError: the file is missing or malformed.
    """
    scrubber, score = Scrubber(profile), Score()
    for group in in_groups(_annotated(gold), lambda pair: weight(pair[0]), GROUP_CHARACTERS):
        for (text, true), findings in zip(group, scrubber.find_all([text for text, _ in group]), strict=True):
            score.add(text, true, [(f.start, f.end, f.label) for f in findings])
    return score


def _annotated(gold: Path) -> Iterator[tuple[str, list[Span]]]:
    for where, record in _records(gold):
        try:
            true = [(int(s["start"]), int(s["end"]), str(s["label"])) for s in record["spans"]]
        except (KeyError, TypeError, ValueError):
            raise CorpusError(f"{where} has no spans of start, end and label.") from None
        if not all(0 <= a <= b <= len(record["text"]) for a, b, _ in true):
            raise CorpusError(f"{where} has a span outside its text.")
        yield record["text"], true


def _groups(records: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    return in_groups(records, lambda record: weight(record["text"]), GROUP_CHARACTERS)


def _span(f: Finding) -> dict[str, Any]:
    return {"start": f.start, "end": f.end, "label": f.label, "kind": f.kind.name, "score": round(f.score, 4)}


def _size(source: Path) -> tuple[int, int]:
    """Returns lines and bytes; 0 for a missing file, which `_records` reports."""
    if not source.is_file():
        return 0, 0
    return sum(1 for _ in numbered_lines(source, "JSON")), source.stat().st_size


def _records(source: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each line's place, for messages, and its record."""
    if not source.is_file():
        raise CorpusError(f"{source} is a folder, not a file." if source.is_dir() else f"There is no file {source}.")
    if source.stat().st_size == 0:
        raise CorpusError(f"The file {source} is empty.")
    for number, line in numbered_lines(source, "JSON"):
        if line.strip():  # as in a corpus, blank lines are skipped
            where = f"Line {number} of {source}"
            record = json_of(line, where)
            text = field(record, "text", where)  # refuses what is not an object
            yield where, {**record, "text": text}
