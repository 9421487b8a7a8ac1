"""Sentence pairs that differ in a stereotype, read from files in four layouts; `bias.py` scores them.

`stereotyped` is the sentence that agrees with the stereotype; in a layout without stereotypes, the one with `he`.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedlm.errors import CorpusError

_LAYOUTS = "CrowS-Pairs .csv (sent_more, sent_less, stereo_antistereo, bias_type), Winogender .tsv, WinoBias pro_/anti_"
_NUMBERED = re.compile(r"^\d+ (.+)$")
_CROWS = ("sent_more", "sent_less", "stereo_antistereo", "bias_type")


@dataclass(frozen=True)
class Pair:
    """Two sentences that differ only in the stereotype, and the kind of bias that they are about."""

    stereotyped: str
    other: str
    kind: str


class _RowError(ValueError):
    """What is wrong with a row; bias sets are public text."""


def read_pairs(path: Path) -> list[Pair]:
    """Reads a file of sentence pairs.

    Args:
      path: a CSV in the CrowS-Pairs layout (Nangia et al. 2020), Winogender's all_sentences.tsv (Rudinger et al. 2018), or
        one of WinoBias' pro_/anti_stereotyped files (Zhao et al. 2018), whose partner lies beside it.

    Raises:
      CorpusError: it is missing, empty, or of another layout.
    """
    if not path.is_file():
        raise CorpusError(f"There is no file of pairs {path}.")
    try:
        if "stereotyped_type" in path.name:
            pairs = _winobias(path)
        else:
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
            pairs = _winogender(rows) if path.suffix == ".tsv" else _crows(rows)
    except (KeyError, IndexError, UnicodeDecodeError, csv.Error, AttributeError, ValueError) as error:
        where = f" ({error})" if isinstance(error, _RowError) else ""
        raise CorpusError(f"{path} is not a file of pairs{where}; the layouts are: {_LAYOUTS}.") from None
    if not pairs:
        raise CorpusError(f"{path} has no pair in it; the layouts are: {_LAYOUTS}.")
    return pairs


def _crows(rows: Iterable[Mapping[str, str]]) -> list[Pair]:
    """`sent_more` is the more stereotypical one where the row says stereo; the other way round for antistereo."""
    pairs = []
    for number, row in enumerate(rows, 1):
        if absent := [k for k in _CROWS if row.get(k) is None]:
            raise _RowError(f"pair {number} has no {absent[0]}")
        more, less, direction, kind = (row[k].strip() for k in _CROWS)
        if direction not in ("stereo", "antistereo"):
            raise _RowError(f"pair {number} has the direction {direction!r}, not stereo or antistereo")
        pairs.append(Pair(more, less, kind) if direction == "stereo" else Pair(less, more, kind))
    return pairs


def _winogender(rows: Iterable[Mapping[str, str]]) -> list[Pair]:
    """Sentences with `he` against the same with `she`; the kind is the occupation, to be set against its share of women."""
    by_id = {row["sentid"]: row["sentence"] for row in rows}
    men = [i for i in by_id if i.split(".")[-2] == "male"]
    return [Pair(by_id[i], by_id[i.replace(".male.", ".female.")], i.split(".")[0]) for i in men]


def _winobias(path: Path) -> list[Pair]:
    pro = path.with_name(path.name.replace("anti_stereotyped", "pro_stereotyped"))
    anti = pro.with_name(pro.name.replace("pro_stereotyped", "anti_stereotyped"))
    if not (pro.is_file() and anti.is_file()):
        raise CorpusError(f"WinoBias comes in pairs of files: {pro.name} and {anti.name} must lie beside each other.")
    kind = "type1" if "type1" in path.name else "type2"
    lines = [[_plain(line) for line in p.read_text(encoding="utf-8").splitlines() if line.strip()] for p in (pro, anti)]
    return [Pair(a, b, kind) for a, b in zip(*lines, strict=True) if a != b]


def _plain(line: str) -> str:
    found = _NUMBERED.match(line)
    if found is None:
        raise ValueError
    return found.group(1).replace("[", "").replace("]", "").strip()


def template_pairs(templates: Sequence[str], shares: Mapping[str, float]) -> list[Pair]:
    """Returns pairs from templates with {occupation} and {pronoun}: the pronoun of the majority against the other.

    Args:
      templates: such as "The {occupation} said that {pronoun} was late."
      shares: percentage of women in each occupation, official figures; an even 50 has no stereotype and no pair.
    """
    pairs = []
    for occupation, share in shares.items():
        pronouns = ("she", "he") if share > 50 else ("he", "she")
        if share != 50:
            texts = [[t.format(occupation=occupation, pronoun=p) for t in templates] for p in pronouns]
            pairs += [Pair(a, b, occupation) for a, b in zip(*texts, strict=True)]
    return pairs
