"""The memory of a process that does the same round again and again."""

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_KEPT, _LARGE = 2**29, 2**25


def keep_memory() -> None:
    """Has glibc keep up to 512 MB that a round frees for the next one, except for pieces of 32 MB and more.

    By default glibc returns arrays of a few megabytes to the system, and each of their pages costs
    a fault when the next round takes them again: 5,000 a round and process. Other C libraries have
    their own ways and are not changed.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
