"""How fast personal data is found: one process against one a core, on the same documents, with the same findings.

python -m benchmarks.scrubbing [--documents 2000]
"""

import argparse
import json
import time
from itertools import islice

from benchmarks.measure import processor, table
from fedlm.data.corpus import open_corpus
from fedlm.ordered import in_order
from fedlm.scrub.engine import Finding, Scrubber


def timed(scrubber: Scrubber, texts: list[str], threads: int) -> tuple[list[list[Finding]], float]:
    """Returns the findings of each text, and seconds."""
    started = time.monotonic()
    found = list(in_order(scrubber.find, texts, threads))
    return found, time.monotonic() - started


def main() -> None:
    """Measures each profile, and prints a table, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--corpus", default="shakespeare")
    args = parser.parse_args()
    texts = [d.text for d in islice(open_corpus(args.corpus), args.documents)]
    characters, rows = sum(map(len, texts)), []
    for profile in ("patterns", "full"):
        scrubber = Scrubber(profile)
        scrubber.find("Warm up, Jane Doe, 12 Mill Lane, +44 151 234 5678.")
        alone, one = timed(scrubber, texts, 1)
        with scrubber.spread(2**62) as threads:
            list(in_order(scrubber.find, ["Warm up, Jane Doe."] * 4 * threads, threads))
            together, many = timed(scrubber, texts, threads)
        assert together == alone
        rows.append((profile, characters / one, characters / many, one / many))
    body = [(name, f"{one:,.0f}", f"{many:,.0f}", f"{gain:.2f}") for name, one, many, gain in rows]
    print(table(("profile", "characters/s, one process", "one process a core", "faster by"), body))
    print(json.dumps({"processor": processor(), "characters": characters, "rows": rows}))


if __name__ == "__main__":
    main()
