"""Where modules are found: those of fedlm in its own folder, whatever else has their names, and those of others last.

The packages of fedlm have common names. A `server.py` in the current folder, beside a script or on PYTHONPATH would be
imported in place of ours, so a finder that comes before all others knows their place. The programs of fedlm (the commands
and the processes that they start) search the folders of a user's own plug-ins after everything that is installed: no file
there can take the place of Python's or another package's modules.

This module loads before the module path is in order, so it imports what Python has loaded already and nothing else.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

OURS = ("fedlm", "clients", "server", "scenarios")
PATH = "FEDLM_PATH"
"""The variable with the folders that a process of fedlm searches last, separated as in PATH."""

_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - see the top
_Finder: Any = next(f for f in sys.meta_path if getattr(f, "__name__", "") == "PathFinder")


class OwnPackages:
    """Finds the packages of fedlm in the folder that this one lies in.

    Attributes:
      fedlm_home: that folder; no other finder has this attribute.
    """

    fedlm_home = _HOME

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> Any:
        """Returns the spec of one of our packages, None for any other module."""
        return _Finder.find_spec(name, [self.fedlm_home]) if name in OURS and path is None else None


def pin() -> None:
    """Has this process find our packages where this module lies."""
    unpin()
    sys.meta_path.insert(0, OwnPackages())


def unpin() -> None:
    """Ends what `pin` began, also that of another copy of fedlm: for a process that loads a bundle."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not hasattr(finder, "fedlm_home")]


def folders() -> list[str]:
    """Returns the absolute folders in which this process finds modules."""
    return list(dict.fromkeys(os.path.abspath(entry) for entry in sys.path))  # noqa: PTH100


def passed_on() -> str:
    """Returns the value of PATH for a process that is to find the modules that this one finds.

    Where this process was given a PYTHONPATH after it had begun, its folders count, too.
    """
    given = [entry for name in (PATH, "PYTHONPATH") for entry in os.environ.get(name, "").split(os.pathsep) if entry]
    return os.pathsep.join(dict.fromkeys([*folders(), *map(os.path.abspath, given)]))


def search_last(more: Sequence[str]) -> None:
    """Puts folders at the end of the module path, unless they are on it."""
    present = {os.path.abspath(entry) for entry in sys.path}  # noqa: PTH100
    for folder in dict.fromkeys(os.path.abspath(entry) for entry in more if entry):  # noqa: PTH100
        if folder not in present:
            sys.path.append(folder)


def in_the_way(places: Sequence[str]) -> Iterator[str]:
    """Yields the files in some folders that have the name of one of our packages."""
    for folder in places:
        for name in OURS if os.path.abspath(folder) != _HOME else ():  # noqa: PTH100
            found = _Finder.find_spec(name, [folder])
            if found is not None and found.origin is not None and not _is_ours(found.origin):
                yield found.origin


def _is_ours(file: str) -> bool:
    return os.path.realpath(file).startswith(os.path.join(os.path.realpath(_HOME), ""))  # noqa: PTH118
