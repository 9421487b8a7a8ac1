"""Which file a module of the user's own is, here and in another process: a name that two files have is no name."""

import os
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from fedlm.errors import ConfigError


def places_of(names: Iterable[str]) -> dict[str, str]:
    """Returns the file of each module of some plug-ins, `package.module:Name` or a module; "" for one without a file.

    >>> places_of(["no.such.module:Rule"])
    {'no.such.module': ''}
    """
    return {module: _place(module) for module in sorted(name.partition(":")[0] for name in names)}


def check_places(others: Mapping[str, str]) -> None:
    """Checks that this process finds the modules in the files in which another process found them.

    Raises:
      ConfigError: one is another file here. A module that is missing is left to those who load it.
    """
    for module, theirs in others.items():
        ours = _place(module)
        if ours and theirs and os.path.realpath(ours) != os.path.realpath(theirs):
            raise ConfigError(f"The module {module!r} is {ours}, and not {theirs}: give yours a name of its own.")


def _place(module: str) -> str:
    loaded = sys.modules.get(module)
    if loaded is not None and module != "__main__":
        return getattr(loaded, "__file__", None) or ""
    try:
        found = find_spec(module)  # imports the packages above it
    except (Exception, SystemExit):  # noqa: BLE001 - whatever the user's package raises; loading it says so
        return ""
    return "" if found is None or not found.has_location else found.origin or ""
