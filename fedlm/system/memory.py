"""The memory of a process: kept between rounds, and never written to the disk after a crash."""

import contextlib
import ctypes
import resource
import sys

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


def forbid_core_dumps() -> None:
    """Has the kernel write no core dump of this process and its children: their memory holds text and keys.

    Linux ignores a limit of 0 where a program collects the dumps (`kernel.core_pattern` begins with
    "|", as with systemd and apport). It never starts that program at a limit of one byte, and one
    byte is too small for a file. PR_SET_DUMPABLE, the other way, gives /proc/PID to root, where
    `fedlm deploy down` finds the processes of a deployment.
    """
    for limit in (1, 0) if sys.platform == "linux" else (0,):
        with contextlib.suppress(ValueError, OSError):  # the limit was 0 already, and only root may raise it
            resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
            return
