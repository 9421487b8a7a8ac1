"""Sentence pairs that differ in a stereotype, read from files in four layouts; `bias.py` scores them.

`stereotyped` is the sentence that agrees with the stereotype; in a layout without stereotypes, the one with `he`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedlm.data.lines import numbered_lines
from fedlm.data.tables import read_table
from fedlm.errors import CorpusError

_LAYOUTS = "CrowS-Pairs .csv (sent_more, sent_less, stereo_antistereo, bias_type), Winogender .tsv, WinoBias pro_/anti_"
_NUMBERED = re.compile(r"^\d+ (.+)$")
_CROWS = ("sent_more", "sent_less", "stereo_antistereo", "bias_type")


@dataclass(frozen=True)
class Pair:
    """Two sentences that differ only in the stereotype, and the kind of bias that they are about.

    Attributes:
      stereotyped, other: the sentences.
      kind: of bias.
      cluster: what its pairs share beyond the kind (an occupation), so that they are not independent; "" for nothing.
    """

    stereotyped: str
    other: str
    kind: str
    cluster: str = field(default="", compare=False)


def read_pairs(path: Path) -> list[Pair]:
    """Reads a file of sentence pairs.

    Args:
      path: a CSV in the CrowS-Pairs layout (Nangia et al. 2020), Winogender's all_sentences.tsv (Rudinger et al. 2018), or
        one of WinoBias' pro_/anti_stereotyped files (Zhao et al. 2018), whose partner lies beside it.

    Raises:
      CorpusError: it is missing, empty, or of another layout; the sentence names the file and the line.
    """
    if not path.is_file():
        raise CorpusError(f"There is no file of pairs {path}.")
    layout = _crows
    if "stereotyped_type" in path.name:
        layout = _winobias
    elif path.suffix.lower() == ".tsv":
        layout = _winogender
    try:
        pairs = layout(path)
    except CorpusError as error:
        raise CorpusError(f"{str(error).rstrip('.')}; the layouts are: {_LAYOUTS}.") from None
    if not pairs:
        raise CorpusError(f"{path} has no pair in it; the layouts are: {_LAYOUTS}.")
    return pairs


def _crows(path: Path) -> list[Pair]:
    """`sent_more` is the more stereotypical one where the row says stereo; the other way round for antistereo."""
    pairs = []
    for where, row in read_table(path, ",", _CROWS):
        more, less, direction, kind = (row[k].strip() for k in _CROWS)
        if direction not in ("stereo", "antistereo"):
            raise CorpusError(f"{where} is not a pair: its stereo_antistereo is neither stereo nor antistereo.")
        pairs.append(Pair(more, less, kind) if direction == "stereo" else Pair(less, more, kind))
    return pairs


def _winogender(path: Path) -> list[Pair]:
    """Sentences with `he` against the same with `she`; the kind is the occupation, to be set against its share of women."""
    by_id, places = dict[str, str](), dict[str, str]()
    for where, row in read_table(path, "\t", ("sentid", "sentence")):
        name = row["sentid"].strip()
        if name in by_id:
            raise CorpusError(f"{where} has the sentid of another line: each sentence needs its own.")
        by_id[name], places[name] = row["sentence"].strip(), where
    pairs = []
    for name in by_id:
        occupation, *_, gender, _ = ["", "", *name.split(".")] if name.count(".") < 2 else name.split(".")
        if gender == "male":
            other = by_id.get(name.replace(".male.", ".female."))
            if other is None:
                raise CorpusError(f"{places[name]} has no partner: the same sentid with female for male is missing.")
            pairs.append(Pair(by_id[name], other, occupation, occupation))
    return pairs


def _winobias(path: Path) -> list[Pair]:
    pro = path.with_name(path.name.replace("anti_stereotyped", "pro_stereotyped"))
    anti = pro.with_name(pro.name.replace("pro_stereotyped", "anti_stereotyped"))
    if not (pro.is_file() and anti.is_file()):
        raise CorpusError(f"WinoBias comes in pairs of files: {pro.name} and {anti.name} must lie beside each other.")
    kind = "type1" if "type1" in path.name else "type2"
    lines = [[(n, line) for n, line in numbered_lines(p, "text") if line.strip()] for p in (pro, anti)]
    if len(lines[0]) != len(lines[1]):
        raise CorpusError(
            f"{pro.name} has {len(lines[0]):,} lines and {anti.name} has {len(lines[1]):,}: they are no pairs."
        )
    pairs = [(_plain(a, pro), _plain(b, anti), _occupation(a[1])) for a, b in zip(*lines, strict=True)]
    return [Pair(a, b, kind, occupation) for a, b, occupation in pairs if a != b]


def _occupation(line: str) -> str:
    """The person whom the pronoun means: the first one in brackets."""
    found = re.search(r"\[(?:the |a |an )?(.+?)\]", line, re.IGNORECASE)
    return found.group(1).lower() if found else ""


def _plain(line: tuple[int, str], path: Path) -> str:
    found = _NUMBERED.match(line[1].rstrip("\r\n"))
    if found is None:
        raise CorpusError(f"Line {line[0]} of {path} is not a number and a sentence.")
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
            pairs += [Pair(a, b, occupation, occupation) for a, b in zip(*texts, strict=True)]
    return pairs
