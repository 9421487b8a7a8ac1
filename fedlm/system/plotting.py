"""Loads Matplotlib, which Keras imports, too, without the user's settings: some end the import, others change figures."""

import atexit
import contextlib
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path


def load_matplotlib() -> None:
    """Imports Matplotlib with its own defaults; a `matplotlibrc` in the current folder, which nothing else turns off, is not read.

    The one at home is turned off by `environment.clean`.
    """
    if "matplotlib" in sys.modules:
        return
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where its font list lies is no news for our users
    with contextlib.chdir("/") if Path("matplotlibrc").is_file() else contextlib.nullcontext():
        import matplotlib as matplotlib


def give_matplotlib_a_folder() -> None:
    """Has this process and its children keep Matplotlib's files in one folder, removed at the end, where HOME takes none.

    Otherwise each of them makes one below TMPDIR, and a worker, which ends at once, leaves it there.
    """
    home = Path("~").expanduser() if os.environ.get("HOME") else Path("/")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "matplotlib"
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "matplotlib"
    if "MPLCONFIGDIR" in os.environ or (os.environ.get("HOME") and _takes_files(cache) and _takes_files(settings)):
        return
    with contextlib.suppress(OSError):  # without a folder Matplotlib itself says what is wrong
        os.environ["MPLCONFIGDIR"] = folder = tempfile.mkdtemp(prefix="fedlm-matplotlib-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _takes_files(folder: Path) -> bool:
    """Returns whether this user may write into a folder, which may have to be made."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
