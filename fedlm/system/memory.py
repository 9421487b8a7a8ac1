"""The memory of a process that does the same round again and again."""

import contextlib
import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_KEPT, _LARGE = 2**29, 2**25
_TUNABLES = "GLIBC_TUNABLES"


def keep_memory() -> None:
    """Has glibc keep up to 512 MB that a round frees for the next one, but for pieces of 32 MB and more.

    By default it gives arrays of a few megabytes back, and each of their pages costs a fault when the next round takes them
    again: 5,000 a round and process. Other C libraries have their own ways and are left alone.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


def worker_environment() -> dict[str, str]:
    """Returns this process' variables for a worker, whose memory shall lie in pages of 2 MB (glibc reads it at the start).

    A step goes through some 40 MB; what the caller asks of glibc stays as it is.
    """
    tunables = os.environ.get(_TUNABLES, "glibc.malloc.hugetlb=1")
    return {**os.environ, _TUNABLES: tunables, "FLWR_TELEMETRY_ENABLED": "0"}
