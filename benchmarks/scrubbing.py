"""How fast personal data is found: one process against one a core, on the same documents, with the same findings.

Processor time is what one core needs, whatever else the machine does meanwhile.

python -m benchmarks.scrubbing [--documents 2000]
"""

import argparse
import json
import time
from itertools import islice

from benchmarks.measure import processor, table
from fedlm.data.corpus import open_corpus
from fedlm.scrub.engine import GROUP_CHARACTERS, Finding, Scrubber, weight
from fedlm.system.threads import in_groups, in_order


def timed(scrubber: Scrubber, texts: list[str], threads: int) -> tuple[list[list[Finding]], float, float]:
    """Returns the findings of each text, seconds, and seconds of this process' processor time."""
    groups = list(in_groups(texts, weight, GROUP_CHARACTERS))
    started, used = time.monotonic(), time.process_time()
    found = [each for group in in_order(scrubber.find_all, groups, threads) for each in group]
    return found, time.monotonic() - started, time.process_time() - used


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
        alone, one, used = timed(scrubber, texts, 1)
        with scrubber.spread(2**62) as threads:
            list(in_order(scrubber.find, ["Warm up, Jane Doe."] * 4 * threads, threads))
            together, many, _ = timed(scrubber, texts, threads)
        assert together == alone
        rows.append((profile, characters / used, characters / one, characters / many, one / many))
    body = [(name, *(f"{value:,.0f}" for value in row), f"{gain:.2f}") for name, *row, gain in rows]
    print(table(("profile", "characters/CPU second", "characters/s", "one process a core", "faster by"), body))
    print(json.dumps({"processor": processor(), "characters": characters, "rows": rows}))


if __name__ == "__main__":
    main()
