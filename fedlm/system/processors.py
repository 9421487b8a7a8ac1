"""How many processors this process may use: of the machine's, those of its affinity, within the quota of its control group."""

import contextlib
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path


def processors(proc: Path = Path("/proc/self")) -> int:
    """Returns the number of processors that work may be spread over; at least 1.

    Args:
      proc: where the kernel describes this process.
    """
    try:
        found = len(os.sched_getaffinity(0))  # `taskset`, a cpuset of a container or of a batch system
    except AttributeError:  # not on macOS
        found = os.cpu_count() or 1
    # A quota of 1.5 processors is two: two processes use all of it, one does not.
    return max(1, min([found, *(math.ceil(quota) for quota in _quotas(proc))]))


def _quotas(proc: Path) -> Iterator[float]:
    """Yields the quotas of this process' control group and of those above it, in processors."""
    with contextlib.suppress(OSError):
        groups = [line.split(":", 2)[1:] for line in (proc / "cgroup").read_text("utf-8", "replace").splitlines()]
        for line in (proc / "mountinfo").read_text("utf-8", "replace").splitlines():
            before, _, after = line.partition(" - ")
            root, point = (_unescaped(word) for word in before.split()[3:5])
            kind, _, options = after.split()[:3]
            controllers = [""] if kind == "cgroup2" else [c for c in options.split(",") if c == "cpu"]
            if kind in ("cgroup", "cgroup2") and controllers:
                path = next((path for names, path in groups if controllers[0] in names.split(",")), "/")
                yield from _along(Path(point), path.removeprefix(root.rstrip("/")))


def _along(point: Path, path: str) -> Iterator[float]:
    """Yields the quotas from a mounted root down to a group. A container may not see the whole path: then those it sees."""
    folder = point
    for name in ("", *path.split("/")):
        folder = folder / name if name != ".." else folder
        with contextlib.suppress(OSError, ValueError, IndexError):
            if (file := folder / "cpu.max").is_file():  # version 2: "max 100000", or microseconds in each period
                quota, period = file.read_text().split()[:2]
            else:
                quota, period = ((folder / f"cpu.cfs_{n}_us").read_text() for n in ("quota", "period"))
            if float(period) > 0 and float(quota) > 0:  # a ValueError: "max"; -1: none
                yield float(quota) / float(period)


def _unescaped(word: str) -> str:
    return re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), word)
