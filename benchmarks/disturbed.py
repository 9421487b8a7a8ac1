"""Recall on generated messages whose characters are disturbed: other spaces, hyphens, line ends, accents, digits, codes.

Each message is disturbed in one way at a time, and the cost of its plain form is measured; what was planted in it keeps its place. A value counts as found if a
finding of its kind shares a character with it, as in `fedlm scrub --score`.

python -m benchmarks.disturbed [--messages 400] [--profiles patterns full] [--seed 1]
"""

import argparse
import json
import time
import unicodedata
from collections.abc import Callable, Sequence
from itertools import cycle, islice

from benchmarks.measure import table
from fedlm.data.synthetic import synthetic_messages
from fedlm.scrub.engine import Scrubber
from fedlm.scrub.normal import views
from fedlm.scrub.score import Score, Span

Disturbance = Callable[[str], str]  # of one character


def swap(signs: str, others: Sequence[str]) -> Disturbance:
    """Returns a disturbance that writes each of `signs` as the next of `others`."""
    following = cycle(others)
    return lambda c: next(following) if c in signs else c


def behind(characters: str, every: int = 3) -> Disturbance:
    """Returns a disturbance that puts one of `characters` behind every third letter, digit or sign of a word."""
    following, count = cycle(characters), cycle(range(every))
    return lambda c: c + next(following) if not c.isspace() and not next(count) else c


def shifted(first: int) -> Disturbance:
    """Returns a disturbance that writes digits in another script, whose zero is `first`."""
    return lambda c: chr(first + int(c)) if c in "0123456789" else c


def full_width(c: str) -> str:
    """Returns the full-width form of an ASCII character."""
    return chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else "\u3000" if c == " " else c


def bold(c: str) -> str:
    """Returns the mathematical bold form of a letter or digit of ASCII."""
    bases = {"A": 0x1D400, "a": 0x1D41A, "0": 0x1D7CE}
    base = next((b for b in bases if b <= c <= chr(ord(b) + (9 if b == "0" else 25))), "")
    return chr(bases[base] + ord(c) - ord(base)) if base else c


def disturbances() -> dict[str, Disturbance]:
    """Returns each disturbance by its name; make them anew for each profile, because some count."""
    spaces = "".join(c for c in map(chr, range(0x10000)) if unicodedata.category(c) == "Zs" and c != " ")
    hyphens = "".join(c for c in map(chr, range(0x10000)) if unicodedata.category(c) == "Pd" and c != "-")
    return {
        "none": lambda c: c,
        "no-break spaces": swap(" ", "\u00a0"),
        "all other spaces": swap(" ", spaces),
        "U+2010, U+2011, U+2212": swap("-", "\u2010\u2011\u2212"),
        "all other dashes": swap("-", hyphens),
        "soft hyphens in words": behind("\u00ad"),
        "zero-width spaces in words": behind("\u200b"),
        "joiners, marks, selectors": behind("\u2060\ufeff\u200d\u200e\ufe0f\u034f"),
        "strokes through letters": behind("\u0335\u0332\u20d7"),
        "NFD": lambda c: unicodedata.normalize("NFD", c),
        "full width": full_width,
        "mathematical bold": bold,
        "Arabic-Indic digits": shifted(0x0660),
        "character references": lambda c: f"&#{ord(c)};" if c in "@.:/" else c,
        "percent codes": lambda c: f"%{ord(c):02X}" if c in "@+" else c,
        "escapes of JSON": lambda c: f"\\u{ord(c):04x}" if not c.isascii() or c in "@+'&<>" else c,
        "quoted-printable": lambda c: c if c.isascii() and c != "=" else "".join(f"={b:02X}" for b in c.encode()),
        "two blanks": swap(" ", ["  "]),
        "HTML's bold": lambda c: f"{c}</b><b>" if c in ".,-" else c,
        "CRLF": lambda c: "\r\n" if c == "\n" else c,
        "CR": swap("\n", "\r"),
        "other line ends": swap("\n", "\v\f\x1c\x1d\x1e\x85\u2028\u2029"),
    }


def disturbed(text: str, spans: list[Span], change: Disturbance) -> tuple[str, list[Span]]:
    """Returns the text with every character changed, and the spans where they are then."""
    pieces = [change(c) for c in text]
    places = [0]
    for piece in pieces:
        places.append(places[-1] + len(piece))
    return "".join(pieces), [(places[a], places[b], label) for a, b, label in spans]


def score(scrubber: Scrubber, messages: list[tuple[str, list[Span]]], change: Disturbance) -> Score:
    """Scores what a scrubber finds in disturbed messages."""
    changed, total = [disturbed(text, spans, change) for text, spans in messages], Score()
    for (text, spans), found in zip(changed, scrubber.find_all([text for text, _ in changed]), strict=True):
        total.add(text, spans, [(f.start, f.end, f.kind.name) for f in found])
    return total


def plain_cost(texts: list[str]) -> float:
    """Returns the microseconds of processor time that the plain form takes for a character, the least of three times."""
    seconds = []
    for _ in range(3):
        started = time.process_time()
        for text in texts:
            views(text)
        seconds.append(time.process_time() - started)
    return 1e6 * min(seconds) / sum(map(len, texts))


def main() -> None:
    """Prints a table for each profile, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=400)
    parser.add_argument("--profiles", nargs="+", default=["patterns", "full"])
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    planted = synthetic_messages(clients=args.messages, messages=2, mail=0.5, seed=args.seed)
    messages = [(p.document.text, p.spans) for p in islice(planted, args.messages)]
    results: dict[str, dict[str, dict[str, str | int | float | None]]] = {}
    for profile in args.profiles:
        scrubber, rows = Scrubber(profile), {}
        for name, change in disturbances().items():
            found = score(scrubber, messages, change)
            rows[name] = {str(row["label"]).lower(): row["recall_overlap"] for row in found.rows() if row["gold"]}
            rows[name] = dict(sorted(rows[name].items())) | {"characters": found.masked["char_recall"]}
        body = [(name, *(f"{value:.3f}" for value in row.values())) for name, row in rows.items()]
        print(table((profile, *rows["none"]), body))
        results[profile] = rows
    costs = {n: plain_cost([disturbed(t, s, c)[0] for t, s in messages]) for n, c in disturbances().items()}
    print(table(("plain form", "us/character"), [(name, f"{cost:.2f}") for name, cost in costs.items()]))
    print(json.dumps({"messages": args.messages, "seed": args.seed, "results": results, "plain_us": costs}))


if __name__ == "__main__":
    main()
