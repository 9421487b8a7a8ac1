"""Shared by benchmarks: running a script in a separate process, medians, tables, the machine's own rate."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.work import WARM_UP

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def run_json(
    command: Sequence[str], env: Mapping[str, str] | None = None, seconds: float | None = None
) -> dict[str, Any]:
    """Runs a script and returns the JSON of its last line.

    Raises:
      RuntimeError: it failed, or took longer than `seconds`; the message has the end of what it wrote.
    """
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "FLWR_TELEMETRY_ENABLED": "0", "PYTHONPATH": str(Path.cwd())}
    options: dict[str, Any] = {
        "env": {**os.environ, **quiet, **(env or {})},
        "capture_output": True,
        "text": True,
        "timeout": seconds,
    }
    try:
        done = subprocess.run(command, **options)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{' '.join(command)} took longer than {seconds:.0f} s") from None
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def round_report(system: str, seconds: Sequence[float], clients: int, tokens: int, versions: str) -> str:
    """Returns a system's line: rates from the median of its rounds after the warm-up."""
    middle = statistics.median(seconds[WARM_UP:])
    figures = {"seconds": middle, "clients_per_second": clients / middle, "tokens_per_second": tokens / middle}
    return json.dumps({"system": system, **figures, "versions": versions})


def gemm_rate(size: int = 1024, seconds: float = 1.0) -> float:
    """Returns the best rate of float32 matrix products in this process, in operations a second."""
    a = np.random.default_rng(0).random((size, size), np.float32)
    out, best, end = np.empty_like(a), float("inf"), time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.perf_counter()
        np.matmul(a, a, out=out)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def machine_rate(processes: int) -> float:
    """Returns the rate of so many processes of one thread together, in operations a second."""
    command = [sys.executable, "-c", "from benchmarks.measure import gemm_rate; print(gemm_rate())"]
    env = {**os.environ, **ONE_THREAD}
    running = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return sum(float(p.communicate()[0]) for p in running)


def processor() -> str:
    """Returns the processor's name and the number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def table(head: Sequence[str], body: Sequence[Sequence[object]]) -> str:
    """Returns a table in Markdown."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines)
