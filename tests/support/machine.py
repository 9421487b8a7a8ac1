"""A machine that does not do what is asked of it: no room for files, another user, a full disk."""

import contextlib
import ctypes
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

NOBODY = 65534
_CLONE_NEWNS = 0x00020000
_APART: list[bool] = []


def forked(work: Callable[[], str]) -> str:
    """Returns what the work returns in a process of its own, whose limits and user may change; or the error's sentence."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            said = work()
        except BaseException as error:  # noqa: BLE001 - the child's error is its answer
            said = f"{type(error).__name__}: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def limited(size: int, work: Callable[[], object]) -> str:
    """Runs the work where no file may grow beyond a size, as on a full disk."""

    def run() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        return str(work())

    return forked(run)


def as_nobody(folder: Path, work: Callable[[], object]) -> str:
    """Runs the work as a user without root's rights, who may enter the folder."""

    def run() -> str:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        return str(work())

    if os.geteuid() == 0:
        for path in (folder, *folder.parents):
            if path.stat().st_uid == 0 and not path.stat().st_mode & 0o001:
                if path.parent == path or path.name in ("root", "home"):
                    pytest.skip("another user may not enter the folder of the tests")
                path.chmod(path.stat().st_mode | 0o011)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    return forked(run)


def _apart() -> bool:
    """Gives this process mounts of its own, once: they end with it, however it ends."""
    if not _APART:
        alone = ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) == 0
        private = ["mount", "--make-rprivate", "/"]
        _APART.append(alone and not subprocess.run(private, check=False, capture_output=True).returncode)
    return _APART[0]


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Yields a file system of this size; skips the test where nothing may be mounted."""
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder)]
    if (
        mount is None
        or os.geteuid() != 0
        or not _apart()
        or subprocess.run([mount, *options], check=False, capture_output=True).returncode
    ):
        pytest.skip("nothing may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, mode: str) -> None:
    """Makes a mounted file system read-only ("ro") or not ("rw")."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(folder)], check=True)
