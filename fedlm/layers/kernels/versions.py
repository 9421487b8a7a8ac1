"""The TensorFlow versions that fedlm was tried with; another one is used with care, and said once."""

import functools
import sys
from importlib import metadata

TRIED = ("2.21",)
"""Minor versions of TensorFlow under which kernels, XLA flags and bits were tested.

Two things depend on a version. XLA ends a process over a flag that it does not know. And kernels
are registered through a C++ function of TensorFlow's that is not public: called in another way than
it expects, it would end the process.
"""


def is_tried(version: str) -> bool:
    """Returns whether a version of TensorFlow, such as 2.21.0, was tried."""
    return ".".join(version.split(".")[:2]) in TRIED


@functools.cache
def warn_if_untried() -> None:
    """Says on stderr, once a process, that the installed TensorFlow was not tried; reads its version without loading it."""
    version = metadata.version("tensorflow")
    if not is_tried(version):
        sys.stderr.write(f"{untried(version)}\n")


def untried(version: str) -> str:
    """Returns the sentence about a version that was not tried."""
    return (
        f"fedlm was not tried with TensorFlow {version} (tried: {', '.join(TRIED)}): it trains without its own kernels and "
        "XLA flags, so speed and the last bits of all figures may differ."
    )
