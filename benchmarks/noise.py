"""How long a release's noise takes: discrete Gaussian integers from the operating system's randomness.

python -m benchmarks.noise [--count 1000000] [--repeats 5]
"""

import argparse
import statistics
import time

from benchmarks.measure import processor, table
from fedlm.privacy.noise import discrete_gaussian


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10**6)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    body = []
    for name, sigma in (("1", 1), ("2^24", 2**24), ("2^50 + 1", 2**50 + 1)):
        seconds = []
        for _ in range(args.repeats):
            started = time.perf_counter()
            discrete_gaussian(sigma, args.count)
            seconds.append(time.perf_counter() - started)
        body.append((name, f"{args.count:,}", f"{statistics.median(seconds):.2f}"))
    print(table(("sigma", "draws", "seconds"), body))
    print(processor())


if __name__ == "__main__":
    main()
