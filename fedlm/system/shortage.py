"""Too little memory, or too few threads or open files, said in one sentence: before it is too late, or after an error.

TensorFlow and OpenBLAS end a process from within when they get no memory or no thread, and nothing can catch that. What
they are certain to need is therefore checked before they load. Every other shortage is an exception, told by `shortage`.
"""

import contextlib
import errno
import math
import os
import resource
import threading
from collections.abc import Callable, Iterator

from fedlm.errors import FedLMError, MachineError
from fedlm.system.storage import reason_of

TENSORFLOW_BYTES, TENSORFLOW_THREADS = 2_000_000_000, 20  # measured: to load it and to compile the smallest step
COMMAND_BYTES = 220_000_000  # of address space: Python and NumPy, with one thread for linear algebra
_THREAD_BYTES = 42_000_000  # of address space: measured, of OpenBLAS for each further thread
_NO_THREAD = "can't start new thread"  # as Python says it
_NO_MEMORY = ("failed to map segment", "cannot allocate memory")  # as the dynamic linker says it
_FILES = (errno.EMFILE, errno.ENFILE)
_LONGEST_CHAIN = 10
_MANY = 4096  # processes of one user: a lower limit is worth naming


def shortage(error: BaseException) -> FedLMError | None:
    """Returns the sentence for an error that a shortage of the machine has caused; None for any other error.

    >>> shortage(ValueError("x")) is None, "can be started" in str(shortage(RuntimeError("can't start new thread")))
    (True, True)
    """
    current: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if current is None or isinstance(current, FedLMError):
            break
        if found := _told(current):
            return MachineError(found)
        current = current.__cause__ or current.__context__
    return None


@contextlib.contextmanager
def telling_shortage() -> Iterator[None]:
    """Turns an exception of the block that a shortage has caused into a MachineError."""
    try:
        yield
    except (MemoryError, OSError, ImportError, RuntimeError) as error:
        if (found := shortage(error)) is None:
            raise
        raise found from None


def check_machine(size_bytes: int, threads: int, what: str) -> None:
    """Checks that this process may have address space and threads.

    Args:
      size_bytes: of address space, for the whole process.
      threads: more than it has.
      what: needs them, as the beginning of a sentence.

    Raises:
      MachineError: it may not.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < size_bytes:
        raise MachineError(
            f"{what} needs at least {_rounded(size_bytes, math.ceil)} of virtual memory, and the limit is "
            f"{_rounded(limit, math.floor)}: "
            "raise it (ulimit -v)."
        )
    if not _can_start(threads):
        raise MachineError(f"{what} needs {threads} threads, and no more can be started{_limit_of_threads()}: {_CURE}.")


def linear_algebra_threads() -> int:
    """Returns how many threads OpenBLAS has, or will have, in a process of fedlm."""
    given = os.environ.get("OPENBLAS_NUM_THREADS", "")
    return min(max(int(given), 1), os.cpu_count() or 1) if given.isdigit() else 1


def with_linear_algebra(size_bytes: int) -> int:
    """Returns the address space of a process that needs so much with one thread for linear algebra."""
    return size_bytes + (linear_algebra_threads() - 1) * _THREAD_BYTES


_CURE = "raise the limit (ulimit -u, or that of the container), or end other programs"


def limits_named() -> str:
    """Returns the limits of this process that native code may have ended at; empty without any.

    The system does not say why native code gave up, so these are named and not blamed.
    """
    found = [_limit_of_memory(), _limit_of_threads()]
    return " and".join(part for part in found if part)


def _told(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in _FILES:
        what, cure = reason_of(error)
        return f"{what[0].upper()}{what[1:]}: {cure}."
    is_fork = isinstance(error, BlockingIOError) and error.errno == errno.EAGAIN and error.filename is None
    if is_fork or (isinstance(error, RuntimeError) and str(error) == _NO_THREAD):
        return f"No more threads or processes can be started{_limit_of_threads()}: {_CURE}."
    linked = isinstance(error, ImportError | OSError) and any(words in str(error).lower() for words in _NO_MEMORY)
    lacks = isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"  # TensorFlow's
    if lacks or linked or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return f"There is not enough memory{_limit_of_memory()}: end other programs, or raise the limit (ulimit -v)."
    return ""


def _limit_of_memory() -> str:
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return "" if limit == resource.RLIM_INFINITY else f" (ulimit -v is {_size(limit)})"


def _limit_of_threads() -> str:
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    return f" (ulimit -u is {limit})" if limit < _MANY and limit != resource.RLIM_INFINITY and os.geteuid() else ""


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"


def _rounded(size_bytes: int, way: Callable[[float], int]) -> str:
    """Returns a size to the tenth of a gigabyte, rounded so that what is too little also looks so."""
    return _size(way(size_bytes / 1e8) * 10**8)


def _can_start(threads: int) -> bool:
    """Returns whether so many threads run at once. Each takes some microseconds, and all of them have ended then."""
    end, begun = threading.Event(), list[threading.Thread]()
    try:
        for _ in range(threads):
            thread = threading.Thread(target=end.wait, daemon=True)
            thread.start()
            begun.append(thread)
    except (RuntimeError, MemoryError):
        return False
    finally:
        end.set()
        for thread in begun:
            thread.join()
    return True
