"""How a process of fedlm begins: a clean Python, our packages pinned, a user's own folders last on the module path.

    python -P -X utf8 -X fedlm .../fedlm/system/start.py MODULE ARGUMENT...     runs the module as a program

A command whose environment has reached into its interpreter (PYTHONPATH, PYTHONWARNINGS, a locale that is not UTF-8)
becomes such a process: what these do to an interpreter cannot be undone in it.

This module loads before the module path is in order: until then it imports only what Python has loaded already.
"""

import os
import sys

if __name__ == "__main__":  # run by its path: our package is in the folder two above
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))  # noqa: PTH100, PTH120
    import fedlm as fedlm  # pins our packages

    del sys.path[0]

from fedlm.plugins.path import PATH, folders, in_the_way, passed_on, search_last
from fedlm.system.environment import clean

_FLAG = "fedlm"  # of `-X`: this interpreter was begun by us
_PROGRAMS = ("fedlm", "fedlm.exe", "__main__.py")


def start_command(module: str) -> list[str]:
    """Returns the words that run a module of fedlm, to which its arguments are added.

    `-P` keeps the current folder off the module path, and UTF-8 mode makes files and pipes
    independent of the locale.
    """
    return [sys.executable, "-P", "-X", "utf8", "-X", _FLAG, os.path.abspath(__file__), module]  # noqa: PTH100


def begin() -> None:
    """Puts the process of a command in order; it may be replaced. In another process, such as a test, nothing happens."""
    if os.path.basename(sys.argv[0]) not in _PROGRAMS:  # noqa: PTH119
        return
    _open_descriptors()
    cleaned = clean(os.environ)
    if _FLAG not in sys._xoptions:
        first = None if sys.flags.safe_path else os.path.abspath(sys.path.pop(0))  # noqa: PTH100
        if first == os.getcwd() and sys.argv[0].endswith("__main__.py"):  # noqa: PTH109 - `python -m fedlm`
            search_last([first])
        if _is_reached(cleaned, first):
            words = [*start_command("fedlm"), *sys.argv[1:]]
            os.execve(sys.executable, words, {**cleaned, PATH: passed_on()})  # noqa: S606
    os.environ.clear()
    os.environ.update(cleaned)
    _share_processors()
    from fedlm.system.plotting import give_matplotlib_a_folder

    give_matplotlib_a_folder()
    for file in in_the_way(folders()):
        sys.stderr.write(f"fedlm: {file} has the name of a package of fedlm and is not used: rename it.\n")


def _share_processors() -> None:
    """Has linear algebra start as many threads as there are processors for this process, and not more."""
    from fedlm.system.processors import processors

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(processors()))


def _is_reached(cleaned: dict[str, str], first: str | None) -> bool:
    """Returns whether the environment has changed this interpreter: its path, its flags, its encoding, what it has loaded."""
    if any(name.startswith("PYTHON") and name not in cleaned for name in os.environ):
        return True
    if sys.flags.optimize or sys.warnoptions or sys.getfilesystemencoding().lower() != "utf-8":
        return True
    files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
    return any(os.path.dirname(file) == first for file in files)  # noqa: PTH120 - one of ours would be in a package


def _open_descriptors() -> None:
    """Opens those of stdin, stdout and stderr that are closed: otherwise the next file, such as a vault, would take the place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
    sys.stdin = sys.stdin or open(0, closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False, encoding="utf-8")  # noqa: SIM115


def main() -> None:
    """Runs the module that the command line names."""
    module, sys.argv[1:] = sys.argv[1], sys.argv[2:]
    search_last(os.environ.get(PATH, "").split(os.pathsep))
    import runpy

    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
