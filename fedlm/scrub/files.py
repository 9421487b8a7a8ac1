"""Scrubs a JSONL file line by line, the other keys of a line staying as they are; scores one that has gold spans."""

import json
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from fedlm.data.files import field, whole
from fedlm.errors import ConfigError, CorpusError
from fedlm.scrub.engine import GROUP_CHARACTERS, Finding, Scrubber, put, weight
from fedlm.scrub.kinds import readable, strip_placeholders
from fedlm.scrub.score import Score, Span
from fedlm.scrub.surrogates import Pseudonyms
from fedlm.system.threads import in_groups, in_order


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # it holds what scrubbing misses


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
      source: JSONL with a `text` (or a whole number) in each line, and perhaps the `user` who wrote it.
      target: JSONL with `text` scrubbed (placeholders as <KIND>); with `spans`, the text without private-use characters
        and `spans` of start, end (in characters), label (Presidio's), kind (ours) and score.
      profile: a scrub spec.
      key: of stand-ins, for mode="pseudonym"; random if none is given.
      progress: called with lines done and lines in all.

    Raises:
      ConfigError: no such profile, or something is at `target`.
      CorpusError: the file is missing or empty, or a line is not an object with a text.
    """
    if target.exists():
        raise ConfigError(f"{target} exists already: name another file, or remove it first.")
    scrubber, counts = Scrubber(profile), Counter[str]()
    key = key or secrets.token_bytes(32)
    beside = target.with_name(f".{target.name}.new")

    def fill(record: dict[str, Any], text: str, findings: list[Finding]) -> None:
        if spans:
            record |= {"text": text, "spans": [_span(f) for f in findings]}
        else:
            pseudonyms = Pseudonyms(key, whole(str(record.get("user", ""))))
            record["text"] = readable(put(text, findings, scrubber.stand_ins(text, findings, pseudonyms)))

    def work(records: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Counter[str]]:
        texts = [strip_placeholders(record["text"]) for record in records]
        found = scrubber.find_all(texts)
        for record, text, findings in zip(records, texts, found, strict=True):
            fill(record, text, findings)
        return records, Counter(f.kind.name for findings in found for f in findings)

    lines, size = _size(source)
    try:
        with open(beside, "wb", opener=_private) as out, scrubber.spread(size) as threads:
            done = 0
            for records, found in in_order(work, _groups(record for _, record in _records(source)), threads):
                counts.update(found)
                for record in records:
                    out.write(json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
                progress(done := done + len(records), lines)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return counts


def score_file(gold: Path, profile: str) -> Score:
    """Scores what a profile finds against a file of texts with their true spans.

    Args:
      gold: JSONL with `text` and `spans` of `start`, `end`, `label`.
      profile: a scrub spec.

    Raises:
      ConfigError: no such profile.
      CorpusError: the file is missing, or a line is not as it should be.
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
    """Returns lines and bytes; 0 of a file that is not there, which `_records` reports."""
    if not source.is_file():
        return 0, 0
    with source.open("rb") as lines:
        return sum(1 for _ in lines), source.stat().st_size


def _records(source: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields where a line stands, for messages, and its record."""
    if not source.is_file():
        raise CorpusError(f"{source} is a folder, not a file." if source.is_dir() else f"There is no file {source}.")
    if source.stat().st_size == 0:
        raise CorpusError(f"The file {source} is empty.")
    with source.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue  # as in a corpus
            where = f"Line {number} of {source}"
            yield where, _record(line, where)


def _record(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # the error's own text would quote the line
        raise CorpusError(f"{where} is not JSON in UTF-8.") from None
    text = field(record, "text", where)
    return {**record, "text": text}
